// What the fused kernels compute on: a tile of 64 rows of a tensor, turned so that the 64 bytes of a channel, a plane,
// are adjacent. In that layout a table is a permutation of bytes, a product runs over 64 rows at once, and each plane
// has one set of parameters. All instruction sets compute the same integers.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr int64_t kLanes = 64;    // bytes of a plane
constexpr int64_t kTable = 256;   // entries of a table, by the byte that is looked up

constexpr int64_t padded(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t padded_depth(int64_t depth) { return padded(depth, 4); }

// clip(round((acc * mult + bias) / 2**shift), lo, hi) of a product's accumulators. The parameters belong to the
// product's rows, or with per_lane to its lanes, of which there is then a multiple of 64.
struct RequantView {
  bool per_lane, half_up;
  bool narrow;  // int32 is proven to hold every intermediate value
  bool scaled;  // a mult is not 1
  int32_t lo, hi;
  const int32_t* start;  // what accumulators start from; in the order of TileOps::slots
  const int32_t *mult, *bias, *shift;  // in that order if narrow; bias then holds what rounds as well
  const int32_t* odd;                  // narrow: 1 where a tie goes to the even integer, else 0
};

// The sum of two int8 tensors at a common scale: clip(round((a * 2**a_left + b * 2**b_left) / 2**right), -128, 127).
struct SumView {
  int a_left, b_left, right;
  bool half_up;
  bool narrow() const;  // int16 holds every intermediate value
};

// Planes are `stride` bytes apart. A product multiplies `rows` int8 [count, depth] by `lanes` int8 [depth, 64]; both
// are packed first, in a form of the instruction set's own. One side holds the activations, XORed with `flip`.
struct TileOps {
  uint8_t flip;
  const uint8_t* slots;  // slot -> lane: the order in which a product holds its 64 accumulators

  // x [rows <= 64, channels], `stride` bytes apart -> planes; absent rows are 0
  void (*load)(const int8_t* x, int64_t stride, int64_t rows, int64_t channels, int8_t* planes, int64_t plane_stride);
  void (*store)(const int8_t* planes, int64_t plane_stride, int64_t rows, int64_t channels, int8_t* y, int64_t stride);
  // planes[c][i] = tables[c][byte planes[c][i]], in place, for `length` bytes (a multiple of 64) of each plane
  void (*lookup)(int8_t* planes, int64_t stride, int64_t length, int64_t channels, const int8_t* tables);
  // a = the sum of a and b, in place, for `length` bytes of each plane
  void (*add)(int8_t* a, int64_t a_stride, const int8_t* b, int64_t b_stride, int64_t length, int64_t channels,
              const SumView& sum);

  int64_t depth_bytes;  // of one row's, or one lane's, element in the packed forms
  void (*pack_rows)(const int8_t* rows, int64_t stride, int64_t count, int64_t depth, uint8_t flip, void* packed);
  void (*pack_lanes)(const int8_t* planes, int64_t stride, int64_t depth, uint8_t flip, void* packed);
  // y[row] = the requantized products of a row, 64 bytes; `flipped_lanes`: the lanes are the activations
  void (*product)(const void* rows, const void* lanes, bool flipped_lanes, int64_t count, int64_t depth,
                  const RequantView& requant, int8_t* y, int64_t y_stride);

  int64_t rows_size(int64_t count, int64_t depth) const { return count * padded_depth(depth) * depth_bytes; }
  int64_t lanes_size(int64_t depth) const { return kLanes * padded_depth(depth) * depth_bytes; }
};

// Those of chosen_isa(); throws Refusal as it does.
const TileOps& tile_ops();

const TileOps& portable_tile_ops();
const TileOps& avx2_tile_ops();
const TileOps& avx512_tile_ops();
