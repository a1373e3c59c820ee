// What the kernels of fused layers share: constants read and packed once, and the memory that a tile is computed in.
#pragma once

#include <vector>

#include "constants.h"
#include "custom_op.h"
#include "tile.h"

// Memory of a thread, 64-byte aligned, that holds its content until it is asked for again.
class Scratch {
 public:
  static Scratch of_thread(int64_t bytes);
  int8_t* take(int64_t bytes);

 private:
  int8_t* next_ = nullptr;
};

// Bytes of 64 lanes that start at a multiple of 64.
class Aligned {
 public:
  int8_t* resize(int64_t bytes);
  const int8_t* data() const { return reinterpret_cast<const int8_t*>(vectors_.data()); }

 private:
  struct alignas(64) Vector {
    int8_t bytes[64];
  };
  std::vector<Vector> vectors_;
};

// A table per channel, indexed by x's byte; no channels: there is none.
struct Table {
  const int8_t* of(int64_t channel) const { return entries.data() + channel * kTable; }

  int64_t channels = 0;
  Aligned entries;
};

// Which input holds what, by index; -1 for an op that has none.
struct Roles {
  int weight, mult, bias, shift, table_in, table_out, skip, skip_table;
};

// A linear layer's constants: weights, requantization, tables and residual sum.
class Layer {
 public:
  // along_lanes: the weights [outputs, inputs] multiply from the left, so that outputs are lanes; else [inputs, outputs].
  Layer(const OrtApi& api, const OrtKernelInfo* info, const char* op, std::initializer_list<const char*> names,
        const Roles& roles, bool along_lanes);

  // The requantization; of lanes 64 * group.. where outputs are lanes.
  RequantView requant(int64_t group = 0) const;

  // The skip tensor, checked to be int8 of y's dims; nullptr where the layer has none.
  const int8_t* skip(OrtKernelContext* context, const std::vector<int64_t>& y) const;

  // What follows the product, on planes of `length` bytes: table, and sum with the skip planes, whose table comes first.
  // The planes are those of channels first.. on.
  void finish(int8_t* y, int64_t stride, int64_t length, int64_t channels, int8_t* skip, int64_t first = 0) const;

  std::string weight_text() const;  // e.g. int8[96,10], for messages

  Node node;
  const TileOps& ops;
  int64_t inputs, outputs;
  Aligned packed;  // the weights: rows, or groups of 64 lanes one after the other
  Table table_in, table_out, skip_table;
  bool has_skip;

 private:
  void read_requant(const Roles& roles, const Tensor& weight, bool along_lanes);
  void pack(const Tensor& weight, bool along_lanes);
  Table read_table(const OrtKernelInfo* info, int index, const char* role, int64_t channels) const;
  void read_sum(const OrtKernelInfo* info, const Roles& roles);

  int skip_index_;
  SumView sum_{};
  RequantView view_{};
  std::vector<int32_t> start_, mult_, bias_, shift_, odd_;
};

// A table as a tile looks it up: by the byte of an int8, or of a uint8.
void copy_table(const int8_t* table, int64_t channels, bool of_int8, int8_t* to);

// An op whose inputs from K::kRequired on may be absent.
template <typename K>
const OrtCustomOp& fused_op() {
  static const OrtCustomOp op = [] {
    OrtCustomOp made = custom_op<K>();
    made.input_characteristic = [](const OrtCustomOp*, size_t index) { return index < K::kRequired ? 0 : 1; };
    return made;
  }();
  return op;
}
