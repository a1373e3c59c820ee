// TokenLinear: a table, a product along tokens, a requantization, a table and a residual sum, an image at a time, and
// of it as many channels as a tile's memory is to hold.

#include "fused.h"
#include "ops.h"
#include "parallel.h"

namespace {

constexpr Roles kRoles{1, 2, 3, 4, 5, 6, 7, 8};
constexpr int64_t kMostChannels = 1024;  // of a tile

struct TokenLinear {
  static constexpr const char* kName = "TokenLinear";
  static constexpr int kInputs[] = {kInt8, kInt8, kInt32, kInt32, kInt32, kInt8, kInt8, kInt8, kInt8};
  static constexpr int kOutput = kInt8;
  static constexpr size_t kRequired = 5;

  TokenLinear(const OrtApi& api, const OrtKernelInfo* info)
      : layer(api, info, kName, {"x"}, kRoles, true) {}

  const OrtApi& api() const { return layer.node.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    if (x.dims.size() < 2 || x.dims[x.dims.size() - 2] != layer.inputs) {
      layer.node.refuse({&x}, "x must be [.., " + std::to_string(layer.inputs) + ", channels], the inputs of weight " +
                                  layer.weight_text());
    }
    const int64_t channels = x.dims.back(), images = x.product(0, x.dims.size() - 2);
    require_channels(x, layer.table_in, "table_in");
    require_channels(x, layer.table_out, "table_out");
    require_channels(x, layer.skip_table, "skip_table");
    std::vector<int64_t> dims = x.dims;
    dims[dims.size() - 2] = layer.outputs;
    const int8_t* skip = layer.skip(context, dims);
    auto* y = static_cast<int8_t*>(output(api(), context, 0, dims));
    const int64_t in = layer.inputs * channels, out = layer.outputs * channels;
    parallel_rows(api(), context, images, in + out, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        for (int64_t c = 0; c < channels; c += kMostChannels) {
          const int64_t count = std::min(kMostChannels, channels - c);
          tile(x.as<int8_t>() + n * in + c, skip ? skip + n * out + c : nullptr, channels, c, count, y + n * out + c);
        }
      }
    });
  }

  void require_channels(const Tensor& x, const Table& table, const char* role) const {
    if (table.channels == 0 || table.channels == x.dims.back()) return;
    const Tensor given{kInt8, {table.channels, kTable}, nullptr};
    layer.node.refuse({&x}, std::string(role) + " " + given.text() + " must have one row for each of x's channels");
  }

  // Channels first.. of an image, whose tokens are `width` bytes apart; x, skip and y point to the first of them.
  void tile(const int8_t* x, const int8_t* skip, int64_t width, int64_t first, int64_t channels, int8_t* y) const {
    const TileOps& ops = layer.ops;
    const int64_t t = layer.inputs, u = layer.outputs, in_stride = padded(t, kLanes), stride = padded(u, kLanes);
    Scratch scratch = Scratch::of_thread(channels * (in_stride + 2 * stride) + ops.rows_size(channels, t) + 4 * kLanes);
    int8_t *in = scratch.take(channels * in_stride), *out = scratch.take(channels * stride);
    int8_t *other = scratch.take(channels * stride), *rows = scratch.take(ops.rows_size(channels, t));
    turn(x, width, t, channels, in, in_stride);
    if (layer.table_in.channels) ops.lookup(in, in_stride, in_stride, channels, layer.table_in.of(first));
    ops.pack_rows(in, in_stride, channels, t, ops.flip, rows);
    const int8_t* lanes = layer.packed.data();
    for (int64_t group = 0; group < stride / kLanes; ++group, lanes += ops.lanes_size(t)) {
      ops.product(rows, lanes, false, channels, t, layer.requant(group), out + group * kLanes, stride);
    }
    if (skip != nullptr) turn(skip, width, u, channels, other, stride);
    layer.finish(out, stride, stride, channels, skip ? other : nullptr, first);
    for (int64_t token = 0; token < u; token += kLanes) {
      ops.store(out + token, stride, std::min(kLanes, u - token), channels, y + token * width, width);
    }
  }

  // [tokens, channels], tokens `width` bytes apart -> planes
  void turn(const int8_t* x, int64_t width, int64_t tokens, int64_t channels, int8_t* planes, int64_t stride) const {
    for (int64_t token = 0; token < tokens; token += kLanes) {
      layer.ops.load(x + token * width, width, std::min(kLanes, tokens - token), channels, planes + token, stride);
    }
  }

  Layer layer;
};

}  // namespace

const OrtCustomOp& token_linear_op() { return fused_op<TokenLinear>(); }
