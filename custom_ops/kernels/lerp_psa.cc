// LerpPSA: PSA on an even grid, linear in between.

#include <memory>

#include "custom_op.h"
#include "grid_lerp.h"
#include "ops.h"
#include "psa.h"

namespace {

class LerpPsa {
 public:
  static constexpr const char* kName = "LerpPSA";
  static constexpr int kInputs[] = {kFloat, kFloat, kFloat, kFloat, kFloat, kFloat}, kOutput = kFloat;

  LerpPsa(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "q_w", "q_b", "v", "o_w", "o_b"}),
        isa_(chosen_isa()),
        epsilon_(node_.real("epsilon", 1.0F)),
        bound_(node_.real("bound", 4.0F)),
        grid_(node_.integer("grid", 64)),
        residual_(node_.integer("residual", 0) != 0) {
    if (grid_ < 2 || grid_ > 1 << 20) node_.refuse("grid=" + std::to_string(grid_) + " must be in 2..2**20");
    Tensor p[5];
    bool constant = true;
    for (size_t i = 0; i < 5; ++i) constant = constant && node_.constant(i + 1, &p[i]);
    if (constant && fault(p).empty()) prepared_ = prepare(p);
  }

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    Tensor p[5];
    for (size_t i = 0; i < 5; ++i) p[i] = input(api(), context, i + 1);
    const auto refuse = [&](const std::string& reason) {
      node_.refuse({&x, &p[0], &p[1], &p[2], &p[3], &p[4]}, reason);
    };
    if (x.type != kFloat) refuse("x must be float");
    const std::string reason = fault(p);
    if (!reason.empty()) refuse(reason);
    if (x.dims.empty() || x.dims.back() != p[0].dims[0]) refuse("x's last dimension must be the parameters' channels");
    auto* y = static_cast<float*>(output(api(), context, 0, x.dims));
    if (x.size() == 0) return;
    const auto made = prepared_ ? nullptr : prepare(p);  // computed parameters: a table for this call
    const LerpTable& lerp = prepared_ ? *prepared_ : *made;
    lerp.run(api(), context, isa_, x.as<float>(), x.size() / x.dims.back(), residual_, y);
  }

 private:
  std::string fault(const Tensor p[5]) const {
    const std::string found = Psa::fault(p);
    if (!found.empty()) return found;
    return p[0].dims[0] * grid_ <= 1 << 30 ? "" : "a table of channels * grid must have at most 2**30 entries";
  }

  std::unique_ptr<const LerpTable> prepare(const Tensor p[5]) const {
    const Psa psa(p, epsilon_);
    const double bound = bound_, spacing = 2.0 * bound / static_cast<double>(grid_ - 1);
    std::vector<double> weights(static_cast<size_t>(psa.features()));
    std::vector<float> table;
    for (int64_t c = 0; c < psa.channels(); ++c) {
      for (int64_t k = 0; k < grid_; ++k) {
        table.push_back(static_cast<float>(psa(static_cast<double>(k) * spacing - bound, c, weights.data())));
      }
    }
    return std::make_unique<const LerpTable>(table.data(), psa.channels(), grid_, bound_);
  }

  Node node_;
  Isa isa_;
  float epsilon_, bound_;
  int64_t grid_;
  bool residual_;
  std::unique_ptr<const LerpTable> prepared_;  // where the parameters are constants
};

}  // namespace

const OrtCustomOp& lerp_psa_op() { return custom_op<LerpPsa>(); }
