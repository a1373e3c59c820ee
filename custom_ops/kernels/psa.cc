// PSA: the learnable function evaluated exactly, one softmax for each element.

#include "psa.h"

#include <algorithm>
#include <cmath>

#include "custom_op.h"
#include "ops.h"
#include "parallel.h"

Psa::Psa(const Tensor inputs[5], float epsilon)
    : q_b_(inputs[1].as<float>()),
      v_(inputs[2].as<float>()),
      o_w_(inputs[3].as<float>()),
      o_b_(inputs[4].as<float>()),
      channels_(inputs[0].dims[0]),
      features_(inputs[0].dims[1]) {
  const float* q_w = inputs[0].as<float>();
  for (int64_t i = 0; i < channels_ * features_; ++i) {
    spread_.push_back(static_cast<double>(q_w[i]) * q_w[i] + static_cast<double>(epsilon));
  }
}

double Psa::operator()(double x, int64_t channel, double* weights) const {
  const int64_t row = channel * features_;
  for (int64_t e = 0; e < features_; ++e) {
    const double away = x - q_b_[row + e];
    weights[e] = -(away * away / spread_[static_cast<size_t>(row + e)]);
  }
  const double greatest = *std::max_element(weights, weights + features_);
  double sum = 0, value = 0;
  for (int64_t e = 0; e < features_; ++e) sum += weights[e] = std::exp(weights[e] - greatest);
  for (int64_t e = 0; e < features_; ++e) value += weights[e] / sum * v_[row + e];
  return o_w_[channel] * value * x + o_b_[channel];
}

std::string Psa::fault(const Tensor inputs[5]) {
  for (int i = 0; i < 5; ++i) {
    if (inputs[i].type != kFloat) return "the parameters must be float";
    if (inputs[i].dims.size() != (i < 3 ? 2U : 1U)) {
      return "q_w, q_b, v must be [channels, features], o_w, o_b [channels]";
    }
    if (inputs[i].dims[0] != inputs[0].dims[0]) return "all parameters must have the same channels";
    if (i < 3 && inputs[i].dims[1] != inputs[0].dims[1]) return "q_w, q_b and v must have the same features";
  }
  return inputs[0].dims[1] > 0 ? "" : "there must be at least one feature";
}

namespace {

class PsaKernel {
 public:
  static constexpr const char* kName = "PSA";
  static constexpr int kInputs[] = {kAnyType, kFloat, kFloat, kFloat, kFloat, kFloat}, kOutput = kAnyType;

  PsaKernel(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "q_w", "q_b", "v", "o_w", "o_b"}),
        epsilon_(node_.real("epsilon", 1.0F)),
        residual_(node_.integer("residual", 0) != 0) {}

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    Tensor p[5];
    for (size_t i = 0; i < 5; ++i) p[i] = input(api(), context, i + 1);
    const auto refuse = [&](const std::string& reason) {
      node_.refuse({&x, &p[0], &p[1], &p[2], &p[3], &p[4]}, reason);
    };
    if (x.type != kFloat && x.type != kDouble) refuse("x must be float or double");
    const std::string fault = Psa::fault(p);
    if (!fault.empty()) refuse(fault);
    if (x.dims.empty() || x.dims.back() != p[0].dims[0]) refuse("x's last dimension must be the parameters' channels");
    void* y = output(api(), context, 0, x.dims);
    if (x.size() == 0) return;
    const Psa psa(p, epsilon_);
    if (x.type == kFloat) {
      run(context, psa, x.as<float>(), x.size(), static_cast<float*>(y));
    } else {
      run(context, psa, x.as<double>(), x.size(), static_cast<double*>(y));
    }
  }

 private:
  template <typename T>
  void run(OrtKernelContext* context, const Psa& psa, const T* x, int64_t size, T* y) const {
    const double cost = 10.0 * static_cast<double>(psa.features());
    parallel_rows(api(), context, size, cost, 1, [&](int64_t begin, int64_t end) {
      std::vector<double> weights(static_cast<size_t>(psa.features()));
      for (int64_t i = begin; i < end; ++i) {
        const T f = static_cast<T>(psa(x[i], i % psa.channels(), weights.data()));
        y[i] = residual_ ? f + x[i] : f;
      }
    });
  }

  Node node_;
  float epsilon_;
  bool residual_;
};

}  // namespace

const OrtCustomOp& psa_op() { return custom_op<PsaKernel>(); }
