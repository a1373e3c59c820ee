// GridLerp: y = table[c, k] + (t - k) * (table[c, k + 1] - table[c, k]), t = (x + bound) * (points - 1) / (2 * bound).

#include "grid_lerp.h"

#include <memory>

#include "custom_op.h"
#include "grid_lerp_simd.h"
#include "ops.h"

// The same float32 steps as the reference, in its order; FLAGS forbid fused multiply-adds.
struct LerpTable::Loop {
  const float* table;
  int32_t channels, segments;
  float bound, per_unit;
  bool residual;

  PSAFLOW_INLINE void finish(const float* x, int32_t c, float* y) const {
    const float last = static_cast<float>(segments - 1);
    for (; c < channels; ++c) {
      const float t = (x[c] + bound) * per_unit;
      float within = t > 0 ? t : 0;  // not a number: 0, and f carries it on
      within = within < last ? within : last;
      const auto k = static_cast<int32_t>(within);  // clip(floor(t)), as both ends are integers
      const float f = t - static_cast<float>(k);
      const float* segment = table + 2 * (c * segments + k);
      const float lerped = segment[0] + f * segment[1];
      y[c] = residual ? lerped + x[c] : lerped;
    }
  }

  void run(const float* x, int64_t rows, float* y) const {
    for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) finish(x, 0, y);
  }
#if PSAFLOW_X86
  PSAFLOW_AVX2 void run_avx2(const float* x, int64_t rows, float* y) const {
    for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
      finish(x, avx2::lerp_row(x, table, channels, segments, bound, per_unit, residual, y), y);
    }
  }
  PSAFLOW_AVX512 void run_avx512(const float* x, int64_t rows, float* y) const {
    for (int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
      finish(x, avx512::lerp_row(x, table, channels, segments, bound, per_unit, residual, y), y);
    }
  }
#endif
};

LerpTable::LerpTable(const float* table, int64_t channels, int64_t points, float bound)
    : channels_(channels),
      segments_(points - 1),
      bound_(bound),
      per_unit_(static_cast<float>(points - 1) / (2.0F * bound)) {
  segments_of_.reserve(static_cast<size_t>(2 * channels * segments_));
  for (int64_t c = 0; c < channels; ++c, table += points) {
    for (int64_t k = 0; k < segments_; ++k) {
      segments_of_.push_back(table[k]);
      segments_of_.push_back(table[k + 1] - table[k]);
    }
  }
}

void LerpTable::run(const OrtApi& api, const OrtKernelContext* context, Isa isa, const float* x, int64_t rows,
                    bool residual, float* y) const {
  const Loop loop{segments_of_.data(), static_cast<int32_t>(channels_), static_cast<int32_t>(segments_),
                  bound_, per_unit_, residual};
  parallel_rows(api, context, rows, static_cast<double>(channels_), 1, [&](int64_t begin, int64_t end) {
    const float* from = x + begin * channels_;
    float* to = y + begin * channels_;
#if PSAFLOW_X86
    if (isa == Isa::kAvx512) return loop.run_avx512(from, end - begin, to);
    if (isa == Isa::kAvx2) return loop.run_avx2(from, end - begin, to);
#endif
    loop.run(from, end - begin, to);
  });
  (void)isa;
}

namespace {

class GridLerp {
 public:
  static constexpr const char* kName = "GridLerp";
  static constexpr int kInputs[] = {kFloat, kFloat}, kOutput = kFloat;

  GridLerp(const OrtApi& api, const OrtKernelInfo* info)
      : node_(api, info, kName, {"x", "table"}),
        isa_(chosen_isa()),
        bound_(node_.real("bound", 4.0F)),
        residual_(node_.integer("residual", 0) != 0) {
    Tensor table;
    if (node_.constant(1, &table) && is_table(table)) prepared_ = prepare(table);
  }

  const OrtApi& api() const { return node_.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0), table = input(api(), context, 1);
    const auto refuse = [&](const std::string& reason) { node_.refuse({&x, &table}, reason); };
    if (x.type != kFloat || table.type != kFloat) refuse("x and table must be float");
    if (x.dims.empty() || table.dims.size() != 2) refuse("x must be [.., channels], table [channels, points]");
    if (table.dims[0] != x.dims.back()) refuse("table must have one row for each of x's channels");
    if (!is_table(table)) refuse("table must have 2 to 2**24 points, which float32 counts exactly, and at most 2**30 entries");
    auto* y = static_cast<float*>(output(api(), context, 0, x.dims));
    if (x.size() == 0) return;
    const auto made = prepared_ ? nullptr : prepare(table);  // a computed table: prepared for this call
    const LerpTable& lerp = prepared_ ? *prepared_ : *made;
    lerp.run(api(), context, isa_, x.as<float>(), x.size() / x.dims.back(), residual_, y);
  }

 private:
  static bool is_table(const Tensor& table) {
    return table.type == kFloat && table.dims.size() == 2 && table.dims[1] >= 2 && table.dims[1] <= 1 << 24 &&
           table.size() <= 1 << 30;
  }
  std::unique_ptr<const LerpTable> prepare(const Tensor& table) const {
    return std::make_unique<const LerpTable>(table.as<float>(), table.dims[0], table.dims[1], bound_);
  }

  Node node_;
  Isa isa_;
  float bound_;
  bool residual_;
  std::unique_ptr<const LerpTable> prepared_;  // where the table is a constant
};

}  // namespace

const OrtCustomOp& grid_lerp_op() { return custom_op<GridLerp>(); }
