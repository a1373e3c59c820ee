// PatchLinear: pixels through a table per colour, cut into patches, through a linear layer; 64 patches at a time.

#include <cstring>

#include "fused.h"
#include "ops.h"
#include "parallel.h"

namespace {

constexpr Roles kRoles{2, 3, 4, 5, -1, 6, -1, -1};

struct PatchLinear {
  static constexpr const char* kName = "PatchLinear";
  static constexpr int kInputs[] = {kUint8, kInt8, kInt8, kInt32, kInt32, kInt32, kInt8};
  static constexpr int kOutput = kInt8;
  static constexpr size_t kRequired = 6;

  PatchLinear(const OrtApi& api, const OrtKernelInfo* info)
      : layer(api, info, kName, {"x"}, kRoles, false), patch(layer.node.integer("patch", 4)) {
    const Tensor colours = constant_of(layer.node, 1, "table");
    if (colours.type != kInt8 || colours.dims.size() != 2 || colours.dims[1] != kTable || colours.dims[0] < 1) {
      layer.node.refuse("table " + colours.text() + " must be int8[colours,256]");
    }
    features = colours.dims[0];
    if (patch < 1 || patch > layer.inputs || layer.inputs != patch * patch * features) {
      layer.node.refuse("patch=" + std::to_string(patch) + " of " + std::to_string(features) +
                        " colours does not give the " + std::to_string(layer.inputs) + " inputs of weight");
    }
    int8_t* to = table.resize(layer.inputs * kTable);
    for (int64_t i = 0; i < patch * patch; ++i) {
      copy_table(colours.as<int8_t>(), features, false, to + i * features * kTable);
    }
  }

  const OrtApi& api() const { return layer.node.api; }

  void compute(OrtKernelContext* context) const {
    const Tensor x = input(api(), context, 0);
    if (x.dims.size() != 4 || x.dims[3] != features || x.dims[1] % patch || x.dims[2] % patch) {
      layer.node.refuse({&x}, "x must be [N, H, W, " + std::to_string(features) + "] with H and W multiples of " +
                                  std::to_string(patch) + ", for table " +
                                  Tensor{kInt8, {features, kTable}, nullptr}.text() + " and weight " + layer.weight_text());
    }
    const int64_t wide = x.dims[2] / patch, tokens = x.dims[1] / patch * wide;
    auto* y = static_cast<int8_t*>(output(api(), context, 0, {x.dims[0], tokens, layer.outputs}));
    const auto* pixels = x.as<int8_t>();
    const int64_t line = x.dims[2] * features, work = layer.inputs + layer.outputs;
    parallel_rows(api(), context, x.dims[0] * tokens, work, kLanes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row += kLanes) {
        tile(pixels, line, wide, row, std::min(kLanes, end - row), y + row * layer.outputs);
      }
    });
  }

  // Patches row.. of all images, counted on from image to image; as H is a multiple of patch, their rows are too.
  void tile(const int8_t* pixels, int64_t line, int64_t wide, int64_t row, int64_t rows, int8_t* y) const {
    const TileOps& ops = layer.ops;
    const int64_t k = layer.inputs, n = layer.outputs, run = patch * features;
    Scratch scratch = Scratch::of_thread((2 * k + n) * kLanes + ops.lanes_size(k) + 4 * kLanes);
    int8_t *gathered = scratch.take(k * kLanes), *in = scratch.take(k * kLanes), *out = scratch.take(n * kLanes);
    int8_t* lanes = scratch.take(ops.lanes_size(k));
    for (int64_t i = 0; i < rows; ++i) {
      const int8_t* corner = pixels + (row + i) / wide * patch * line + (row + i) % wide * run;
      for (int64_t y_in = 0; y_in < patch; ++y_in) {
        std::memcpy(gathered + i * k + y_in * run, corner + y_in * line, static_cast<size_t>(run));
      }
    }
    ops.load(gathered, k, rows, k, in, kLanes);
    ops.lookup(in, kLanes, kLanes, k, table.data());
    ops.pack_lanes(in, kLanes, k, ops.flip, lanes);
    ops.product(layer.packed.data(), lanes, true, n, k, layer.requant(), out, kLanes);
    layer.finish(out, kLanes, kLanes, n, nullptr);
    ops.store(out, kLanes, rows, n, y, n);
  }

  Layer layer;
  int64_t patch, features;
  Aligned table;  // of each input of a patch
};

}  // namespace

const OrtCustomOp& patch_linear_op() { return fused_op<PatchLinear>(); }
