// Linear: a table, a product along channels, a requantization, a table and a residual sum, 64 rows at a time.

#include "fused.h"
#include "ops.h"
#include "parallel.h"

namespace {

constexpr Roles kRoles{1, 2, 3, 4, 5, 6, 7, 8};

struct Linear {
  static constexpr const char* kName = "Linear";
  static constexpr int kInputs[] = {kInt8, kInt8, kInt32, kInt32, kInt32, kInt8, kInt8, kInt8, kInt8};
  static constexpr int kOutput = kInt8;
  static constexpr size_t kRequired = 5;

  Linear(const OrtApi& api, const OrtKernelInfo* info)
      : layer(api, info, kName, {"x"}, kRoles, false) {}

  const OrtApi& api() const { return layer.node.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    if (x.dims.empty() || x.dims.back() != layer.inputs) {
      layer.node.refuse({&x}, "x must be [.., " + std::to_string(layer.inputs) + "], the inputs of weight " +
                                  layer.weight_text());
    }
    std::vector<int64_t> dims = x.dims;
    dims.back() = layer.outputs;
    const int8_t* skip = layer.skip(context, dims);
    auto* y = static_cast<int8_t*>(output(api(), context, 0, dims));
    const int64_t rows = x.product(0, x.dims.size() - 1);
    parallel_rows(api(), context, rows, layer.inputs + layer.outputs, kLanes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row += kLanes) {
        tile(x.as<int8_t>() + row * layer.inputs, skip ? skip + row * layer.outputs : nullptr,
             std::min(kLanes, end - row), y + row * layer.outputs);
      }
    });
  }

  void tile(const int8_t* x, const int8_t* skip, int64_t rows, int8_t* y) const {
    const TileOps& ops = layer.ops;
    const int64_t k = layer.inputs, n = layer.outputs;
    Scratch scratch = Scratch::of_thread((k + 2 * n) * kLanes + ops.lanes_size(k) + 4 * kLanes);
    int8_t *in = scratch.take(k * kLanes), *out = scratch.take(n * kLanes), *other = scratch.take(n * kLanes);
    int8_t* lanes = scratch.take(ops.lanes_size(k));
    ops.load(x, k, rows, k, in, kLanes);
    if (layer.table_in.channels) ops.lookup(in, kLanes, kLanes, k, layer.table_in.of(0));
    ops.pack_lanes(in, kLanes, k, ops.flip, lanes);
    ops.product(layer.packed.data(), lanes, true, n, k, layer.requant(), out, kLanes);
    if (skip != nullptr) ops.load(skip, n, rows, n, other, kLanes);
    layer.finish(out, kLanes, kLanes, n, skip ? other : nullptr);
    ops.store(out, kLanes, rows, n, y, n);
  }

  Layer layer;
};

}  // namespace

const OrtCustomOp& linear_op() { return fused_op<Linear>(); }
