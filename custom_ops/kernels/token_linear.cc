// TokenLinear: a table, a product along tokens, a requantization, a table and a residual sum, an image at a time.

#include "fused.h"
#include "ops.h"
#include "parallel.h"

namespace {

constexpr Roles kRoles{1, 2, 3, 4, 5, 6, 7, 8};

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
      layer.node.refuse({&x}, "x must be [.., " + std::to_string(layer.inputs) + ", channels], the inputs of weight");
    }
    const int64_t channels = x.dims.back(), images = x.product(0, x.dims.size() - 2);
    for (const Table* table : {&layer.table_in, &layer.table_out, &layer.skip_table}) {
      if (table->channels && table->channels != channels) {
        layer.node.refuse({&x}, "a table has " + std::to_string(table->channels) + " channels, x " +
                                    std::to_string(channels));
      }
    }
    std::vector<int64_t> dims = x.dims;
    dims[dims.size() - 2] = layer.outputs;
    const int8_t* skip = layer.skip(context, dims);
    auto* y = static_cast<int8_t*>(output(api(), context, 0, dims));
    const int64_t in = layer.inputs * channels, out = layer.outputs * channels;
    parallel_rows(api(), context, images, in + out, 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        image(x.as<int8_t>() + n * in, skip ? skip + n * out : nullptr, channels, y + n * out);
      }
    });
  }

  void image(const int8_t* x, const int8_t* skip, int64_t channels, int8_t* y) const {
    const TileOps& ops = layer.ops;
    const int64_t t = layer.inputs, u = layer.outputs, in_stride = padded(t, kLanes), stride = padded(u, kLanes);
    Scratch scratch = Scratch::of_thread(channels * (in_stride + 2 * stride) + ops.rows_size(channels, t) + 4 * kLanes);
    int8_t *in = scratch.take(channels * in_stride), *out = scratch.take(channels * stride);
    int8_t *other = scratch.take(channels * stride), *rows = scratch.take(ops.rows_size(channels, t));
    turn(x, t, channels, in, in_stride);
    if (layer.table_in.channels) ops.lookup(in, in_stride, in_stride, channels, layer.table_in.entries.data());
    ops.pack_rows(in, in_stride, channels, t, ops.flip, rows);
    const int8_t* lanes = layer.packed.data();
    for (int64_t group = 0; group < stride / kLanes; ++group, lanes += ops.lanes_size(t)) {
      ops.product(rows, lanes, false, channels, t, layer.requant(group), out + group * kLanes, stride);
    }
    if (skip != nullptr) turn(skip, u, channels, other, stride);
    layer.finish(out, stride, stride, channels, skip ? other : nullptr);
    for (int64_t token = 0; token < u; token += kLanes) {
      ops.store(out + token, stride, std::min(kLanes, u - token), channels, y + token * channels, channels);
    }
  }

  // [tokens, channels] -> planes
  void turn(const int8_t* x, int64_t tokens, int64_t channels, int8_t* planes, int64_t stride) const {
    for (int64_t token = 0; token < tokens; token += kLanes) {
      layer.ops.load(x + token * channels, channels, std::min(kLanes, tokens - token), channels, planes + token, stride);
    }
  }

  Layer layer;
};

}  // namespace

const OrtCustomOp& token_linear_op() { return fused_op<TokenLinear>(); }
