// TokenMean: the sum of a channel over an image's tokens, shifted, rounded and clipped.

#include <algorithm>
#include <vector>

#include "custom_op.h"
#include "ops.h"
#include "parallel.h"
#include "rounding.h"

namespace {

struct TokenMean {
  static constexpr const char* kName = "TokenMean";
  static constexpr int kInputs[] = {kInt8};
  static constexpr int kOutput = kInt8;

  TokenMean(const OrtApi& api, const OrtKernelInfo* info)
      : node(api, info, kName, {"x"}),
        shift(node.integer("shift", 0)),
        limits(node.limits()),
        half_up(node.half_up()) {
    if (shift < 0 || shift > 31) node.refuse("shift=" + std::to_string(shift) + " must be in 0..31");
  }

  const OrtApi& api() const { return node.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    if (x.dims.size() != 3) node.refuse({&x}, "x must be [N, tokens, channels]");
    const int64_t tokens = x.dims[1], channels = x.dims[2];
    auto* y = static_cast<int8_t*>(output(api(), context, 0, {x.dims[0], channels}));
    const auto* codes = x.as<int8_t>();
    parallel_rows(api(), context, x.dims[0], tokens * channels / 4, 1, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> sums(static_cast<size_t>(channels));
      for (int64_t n = begin; n < end; ++n) {
        add_up(codes + n * tokens * channels, tokens, channels, sums.data());
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t mean = shift_right(sums[c], static_cast<int>(shift), half_up);
          y[n * channels + c] = static_cast<int8_t>(std::clamp(mean, limits.lo, limits.hi));
        }
      }
    });
  }

  // sums [channels] of x [tokens, channels], in 32 bits that wrap as onnxruntime's do; tokens by the hundred fit int16
  static void add_up(const int8_t* x, int64_t tokens, int64_t channels, int32_t* sums) {
    constexpr int64_t kBlock = 64, kMost = 128;
    for (int64_t first = 0; first < channels; first += kBlock) {
      const int64_t count = std::min(kBlock, channels - first);
      for (int64_t c = 0; c < count; ++c) sums[first + c] = 0;
      for (int64_t token = 0; token < tokens; token += kMost) {
        int16_t part[kBlock] = {};
        for (int64_t t = token; t < std::min(token + kMost, tokens); ++t) {
          const int8_t* row = x + t * channels + first;
          for (int64_t c = 0; c < count; ++c) part[c] = static_cast<int16_t>(part[c] + row[c]);
        }
        for (int64_t c = 0; c < count; ++c) {
          const auto sum = static_cast<uint32_t>(sums[first + c]) + static_cast<uint32_t>(part[c]);
          sums[first + c] = static_cast<int32_t>(sum);
        }
      }
    }
  }

  Node node;
  int64_t shift;
  Limits limits;
  bool half_up;
};

}  // namespace

const OrtCustomOp& token_mean_op() { return custom_op<TokenMean>(); }
