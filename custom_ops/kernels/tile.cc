// Tiles without special instructions, and the choice among the instruction sets.

#include "tile.h"

#include "tile_plain.h"

bool SumView::narrow() const {
  if (a_left > 7 || b_left > 7 || right > 15) return false;
  const int most = 128 * ((1 << a_left) + (1 << b_left)) + (right ? 1 << (right - 1) : 0);
  return most <= INT16_MAX;
}

namespace {

void pack_rows(const int8_t* rows, int64_t stride, int64_t count, int64_t depth, uint8_t, void* packed) {
  auto* to = static_cast<int8_t*>(packed);
  for (int64_t row = 0; row < count; ++row, to += padded_depth(depth)) {
    std::memcpy(to, rows + row * stride, static_cast<size_t>(depth));
  }
}

void pack_lanes(const int8_t* planes, int64_t stride, int64_t depth, uint8_t, void* packed) {
  auto* to = static_cast<int8_t*>(packed);
  for (int64_t k = 0; k < depth; ++k, to += kLanes) std::memcpy(to, planes + k * stride, kLanes);
}

void product(const void* rows, const void* lanes, bool, int64_t count, int64_t depth, const RequantView& requant,
             int8_t* y, int64_t y_stride) {
  for (int64_t row = 0; row < count; ++row) {
    const int8_t* a = static_cast<const int8_t*>(rows) + row * padded_depth(depth);
    const auto* b = static_cast<const int8_t*>(lanes);
    int32_t accumulators[kLanes];
    for (int64_t lane = 0; lane < kLanes; ++lane) accumulators[lane] = requant.start[requant.per_lane ? lane : row];
    for (int64_t k = 0; k < depth; ++k, b += kLanes) {
      const int32_t factor = a[k];
      for (int64_t lane = 0; lane < kLanes; ++lane) accumulators[lane] += factor * b[lane];
    }
    requant_plain(accumulators, requant, row, y + row * y_stride);
  }
}

void load(const int8_t* x, int64_t stride, int64_t rows, int64_t channels, int8_t* planes, int64_t plane_stride) {
  load_plain(x, stride, rows, channels, planes, plane_stride);
}

void store(const int8_t* planes, int64_t plane_stride, int64_t rows, int64_t channels, int8_t* y, int64_t stride) {
  store_plain(planes, plane_stride, rows, channels, y, stride);
}

void lookup(int8_t* planes, int64_t stride, int64_t length, int64_t channels, const int8_t* tables) {
  lookup_plain(planes, stride, length, channels, tables);
}

void add(int8_t* a, int64_t a_stride, const int8_t* b, int64_t b_stride, int64_t length, int64_t channels,
         const SumView& sum) {
  add_plain(a, a_stride, b, b_stride, length, channels, sum);
}

constexpr uint8_t kInOrder[kLanes] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
};

}  // namespace

const TileOps& portable_tile_ops() {
  static const TileOps ops{0, kInOrder, load, store, lookup, add, 1, pack_rows, pack_lanes, product};
  return ops;
}

const TileOps& tile_ops() {
#if PSAFLOW_X86
  const Isa isa = chosen_isa();
  if (chosen_vnni()) return avx512_tile_ops();
  if (isa >= Isa::kAvx2) return avx2_tile_ops();
#endif
  return portable_tile_ops();
}
