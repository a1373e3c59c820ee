// Reading and packing a layer's constants.

#include "fused.h"

#include <algorithm>
#include <cstring>

namespace {

constexpr int64_t kMostLeft = 22;         // shifts of a sum's operands, and of the sum
constexpr int64_t kMostRight = 31;

bool present(const OrtApi& api, const OrtKernelInfo* info, int index) {
  if (index < 0) return false;
  size_t size = 0;
  OrtStatus* status = api.input_name(info, static_cast<size_t>(index), nullptr, &size);
  if (status == nullptr) return size > 1;  // the terminator alone: an input left out
  api.release(status);
  return false;
}

int64_t magnitude(int32_t value) { return value < 0 ? -int64_t{value} : int64_t{value}; }

}  // namespace

Scratch Scratch::of_thread(int64_t bytes) {
  thread_local std::vector<int8_t> memory;
  if (static_cast<int64_t>(memory.size()) < bytes + kLanes) memory.resize(static_cast<size_t>(bytes + kLanes));
  Scratch scratch;
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  scratch.next_ = memory.data() + (kLanes - address % kLanes) % kLanes;
  return scratch;
}

int8_t* Scratch::take(int64_t bytes) {
  int8_t* taken = next_;
  next_ += padded(bytes, kLanes);
  return taken;
}

int8_t* Aligned::resize(int64_t bytes) {
  vectors_.assign(static_cast<size_t>((bytes + 63) / 64), Vector{});
  return vectors_.empty() ? nullptr : vectors_[0].bytes;
}

void copy_table(const int8_t* table, int64_t channels, bool of_int8, int8_t* to) {
  for (int64_t i = 0; i < channels * kTable; ++i) to[i] = table[of_int8 ? i ^ 0x80 : i];
}

Layer::Layer(const OrtApi& api, const OrtKernelInfo* info, const char* op, std::initializer_list<const char*> names,
             const Roles& roles, bool along_lanes)
    : node(api, info, op, names), ops(tile_ops()), skip_index_(roles.skip) {
  const Tensor weight = weight_of(node, roles.weight, along_lanes ? 1 : 0);
  inputs = weight.dims[along_lanes ? 1 : 0];
  outputs = weight.dims[along_lanes ? 0 : 1];
  read_requant(roles, weight, along_lanes);
  pack(weight, along_lanes);
  table_in = read_table(info, roles.table_in, "table_in", along_lanes ? -1 : inputs);
  table_out = read_table(info, roles.table_out, "table_out", along_lanes ? -1 : outputs);
  skip_table = read_table(info, roles.skip_table, "skip_table", along_lanes ? -1 : outputs);
  read_sum(info, roles);
}

void Layer::pack(const Tensor& weight, bool along_lanes) {
  const auto* w = weight.as<int8_t>();
  if (!along_lanes) {
    std::vector<int8_t> rows(static_cast<size_t>(inputs * outputs));
    for (int64_t k = 0; k < inputs; ++k) {
      for (int64_t n = 0; n < outputs; ++n) rows[n * inputs + k] = w[k * outputs + n];
    }
    ops.pack_rows(rows.data(), inputs, outputs, inputs, 0, packed.resize(ops.rows_size(outputs, inputs)));
    return;
  }
  const int64_t groups = padded(outputs, kLanes) / kLanes;  // of 64 outputs, as planes [inputs, 64]
  int8_t* to = packed.resize(groups * ops.lanes_size(inputs));
  for (int64_t group = 0; group < groups; ++group, to += ops.lanes_size(inputs)) {
    std::vector<int8_t> planes(static_cast<size_t>(inputs * kLanes));
    for (int64_t lane = 0; lane < std::min(kLanes, outputs - group * kLanes); ++lane) {
      for (int64_t k = 0; k < inputs; ++k) planes[k * kLanes + lane] = w[(group * kLanes + lane) * inputs + k];
    }
    ops.pack_lanes(planes.data(), kLanes, inputs, 0, to);
  }
}

void Layer::read_sum(const OrtKernelInfo* info, const Roles& roles) {
  has_skip = present(node.api, info, roles.skip);
  if (skip_table.channels && !has_skip) node.refuse("skip_table needs the input skip");
  const auto read = [&](const char* name, int64_t most) {
    const int64_t value = node.integer(name, 0);
    if (value < 0 || value > most) {
      node.refuse(std::string(name) + "=" + std::to_string(value) + " must be in 0.." + std::to_string(most));
    }
    return static_cast<int>(value);
  };
  sum_ = {read("left", kMostLeft), read("skip_left", kMostLeft), read("right", kMostRight), view_.half_up};
}

void Layer::read_requant(const Roles& roles, const Tensor& weight, bool along_lanes) {
  RequantView& r = view_;
  r.per_lane = along_lanes;
  r.half_up = node.half_up();
  const Limits limits = node.limits();
  r.lo = static_cast<int32_t>(limits.lo);
  r.hi = static_cast<int32_t>(limits.hi);
  const auto mult = parameter_of(node, roles.mult, "mult", outputs), bias = parameter_of(node, roles.bias, "bias", outputs);
  const auto shift = parameter_of(node, roles.shift, "shift", outputs);
  for (const int32_t s : shift) {
    if (s < 0 || s > 31) node.refuse("shift " + std::to_string(s) + " must be in 0..31");
  }
  const auto* w = weight.as<int8_t>();
  const auto at = [&](int64_t n, int64_t k) { return int64_t{along_lanes ? w[n * inputs + k] : w[k * outputs + n]}; };
  std::vector<int64_t> sums(static_cast<size_t>(outputs));
  r.narrow = true;
  r.scaled = false;
  for (int64_t n = 0; n < outputs; ++n) {
    int64_t most = 0;
    for (int64_t k = 0; k < inputs; ++k) {
      sums[n] += at(n, k);
      most += 128 * (at(n, k) < 0 ? -at(n, k) : at(n, k));
    }
    const int64_t half = shift[n] ? int64_t{1} << (shift[n] - 1) : 0;
    r.narrow = r.narrow && most * magnitude(mult[n]) + magnitude(bias[n]) + half + 1 <= INT32_MAX;
    r.scaled = r.scaled || mult[n] != 1;
  }
  const auto count = static_cast<size_t>(along_lanes ? padded(outputs, kLanes) : outputs);
  start_.assign(count, 0), mult_.assign(count, 1), bias_.assign(count, 0), shift_.assign(count, 0), odd_.assign(count, 0);
  for (size_t slot = 0; slot < count; ++slot) {  // a place in the arrays; lanes stand in the order of ops.slots
    const size_t lane = along_lanes ? slot / kLanes * kLanes + ops.slots[slot % kLanes] : slot;
    if (lane >= static_cast<size_t>(outputs)) continue;
    const int32_t odd = r.half_up || shift[lane] == 0 ? 0 : 1;
    const int32_t rounds = shift[lane] && r.narrow ? (int32_t{1} << (shift[lane] - 1)) - odd : 0;
    int64_t start = ops.flip ? -128 * sums[lane] : 0;
    if (r.narrow && !r.scaled) start += bias[lane] + rounds;
    start_[slot] = static_cast<int32_t>(static_cast<uint32_t>(start));
    const size_t to = r.narrow ? slot : lane;
    mult_[to] = mult[lane];
    bias_[to] = r.narrow ? bias[lane] + rounds : bias[lane];
    shift_[to] = shift[lane];
    odd_[to] = odd;
  }
}

RequantView Layer::requant(int64_t group) const {
  RequantView view = view_;
  const int64_t first = group * kLanes;
  view.start = start_.data() + first;
  view.mult = mult_.data() + first;
  view.bias = bias_.data() + first;
  view.shift = shift_.data() + first;
  view.odd = odd_.data() + first;
  return view;
}

Table Layer::read_table(const OrtKernelInfo* info, int index, const char* role, int64_t channels) const {
  Table table;
  if (!present(node.api, info, index)) return table;
  const Tensor tensor = constant_of(node, index, role);
  const bool fits = tensor.type == kInt8 && tensor.dims.size() == 2 && tensor.dims[1] == kTable;
  if (!fits || (channels >= 0 && tensor.dims[0] != channels) || tensor.dims[0] == 0) {
    const std::string count = channels < 0 ? "channels" : std::to_string(channels);
    node.refuse(std::string(role) + " " + tensor.text() + " must be int8[" + count + ",256]");
  }
  table.channels = tensor.dims[0];
  copy_table(tensor.as<int8_t>(), table.channels, true, table.entries.resize(table.channels * kTable));
  return table;
}

const int8_t* Layer::skip(OrtKernelContext* context, const std::vector<int64_t>& y) const {
  if (!has_skip) return nullptr;
  const Tensor tensor = input(node.api, context, static_cast<size_t>(skip_index_));
  const Tensor wanted{kInt8, y, nullptr};
  if (tensor.type != kInt8 || tensor.dims != y) node.refuse("skip " + tensor.text() + " must be " + wanted.text());
  return tensor.as<int8_t>();
}

std::string Layer::weight_text() const {
  const bool left = view_.per_lane;
  return Tensor{kInt8, {left ? outputs : inputs, left ? inputs : outputs}, nullptr}.text();
}

void Layer::finish(int8_t* y, int64_t stride, int64_t length, int64_t channels, int8_t* skip, int64_t first) const {
  if (table_out.channels) ops.lookup(y, stride, length, channels, table_out.of(first));
  if (skip == nullptr) return;
  if (skip_table.channels) ops.lookup(skip, stride, length, channels, skip_table.of(first));
  ops.add(y, stride, skip, stride, length, channels, sum_);
}
