// LinearSum: x @ weight + bias in int32.

#include <algorithm>
#include <vector>

#include "constants.h"
#include "custom_op.h"
#include "isa.h"
#include "ops.h"
#include "parallel.h"

namespace {

// y [columns] = x [depth] @ weight [depth, columns] + bias [columns], in 32 bits that wrap as onnxruntime's do
PSAFLOW_INLINE void row_times(const int8_t* x, const int16_t* weight, const int32_t* bias, int64_t depth,
                              int64_t columns, int32_t* y) {
  for (int64_t n = 0; n < columns; ++n) {
    int32_t sum = 0;
    for (int64_t k = 0; k < depth; ++k) sum += x[k] * weight[n * depth + k];
    y[n] = static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(bias[n]));
  }
}

void row_portable(const int8_t* x, const int16_t* w, const int32_t* b, int64_t depth, int64_t columns, int32_t* y) {
  row_times(x, w, b, depth, columns, y);
}

#if PSAFLOW_X86
PSAFLOW_AVX2 void row_avx2(const int8_t* x, const int16_t* w, const int32_t* b, int64_t depth, int64_t columns,
                           int32_t* y) {
  row_times(x, w, b, depth, columns, y);
}
#endif

struct LinearSum {
  static constexpr const char* kName = "LinearSum";
  static constexpr int kInputs[] = {kInt8, kInt8, kInt32};
  static constexpr int kOutput = kInt32;

  LinearSum(const OrtApi& api, const OrtKernelInfo* info) : node(api, info, kName, {"x"}) {
    const Tensor matrix = weight_of(node, 1, 0);
    depth = matrix.dims[0], columns = matrix.dims[1];
    bias = parameter_of(node, 2, "bias", columns);
    weight.resize(static_cast<size_t>(depth * columns));
    for (int64_t n = 0; n < columns; ++n) {
      for (int64_t k = 0; k < depth; ++k) weight[n * depth + k] = matrix.as<int8_t>()[k * columns + n];
    }
#if PSAFLOW_X86
    if (chosen_isa() >= Isa::kAvx2) row = row_avx2;
#endif
  }

  const OrtApi& api() const { return node.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    if (x.dims.empty() || x.dims.back() != depth) {
      node.refuse({&x}, "x must be [.., " + std::to_string(depth) + "], the inputs of weight " +
                            Tensor{kInt8, {depth, columns}, nullptr}.text());
    }
    std::vector<int64_t> dims = x.dims;
    dims.back() = columns;
    auto* y = static_cast<int32_t*>(output(api(), context, 0, dims));
    const auto* codes = x.as<int8_t>();
    const int64_t rows = x.product(0, x.dims.size() - 1);
    parallel_rows(api(), context, rows, depth * columns / 16, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        row(codes + n * depth, weight.data(), bias.data(), depth, columns, y + n * columns);
      }
    });
  }

  Node node;
  int64_t depth = 0, columns = 0;
  std::vector<int16_t> weight;  // [columns, depth]
  std::vector<int32_t> bias;
  void (*row)(const int8_t*, const int16_t*, const int32_t*, int64_t, int64_t, int32_t*) = row_portable;
};

}  // namespace

const OrtCustomOp& linear_sum_op() { return custom_op<LinearSum>(); }
