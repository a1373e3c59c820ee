// The steps of a tile in plain C++, for every instruction set to inline and to vectorize as it can.
#pragma once

#include <algorithm>
#include <cstring>

#include "isa.h"
#include "rounding.h"
#include "tile.h"

PSAFLOW_INLINE void load_plain(const int8_t* x, int64_t stride, int64_t rows, int64_t channels, int8_t* planes,
                               int64_t plane_stride) {
  for (int64_t c = 0; c < channels; ++c) {
    int8_t* plane = planes + c * plane_stride;
    for (int64_t row = 0; row < rows; ++row) plane[row] = x[row * stride + c];
    std::memset(plane + rows, 0, static_cast<size_t>(kLanes - rows));
  }
}

PSAFLOW_INLINE void store_plain(const int8_t* planes, int64_t plane_stride, int64_t rows, int64_t channels, int8_t* y,
                                int64_t stride) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < channels; ++c) y[row * stride + c] = planes[c * plane_stride + row];
  }
}

PSAFLOW_INLINE void lookup_plain(int8_t* planes, int64_t stride, int64_t length, int64_t channels,
                                 const int8_t* tables) {
  for (int64_t c = 0; c < channels; ++c) {
    const int8_t* table = tables + c * kTable;
    int8_t* plane = planes + c * stride;
    for (int64_t i = 0; i < length; ++i) plane[i] = table[static_cast<uint8_t>(plane[i])];
  }
}

// What follows computes 64 bytes in memory of its own, as a result that may overlap the operands is not vectorized.

PSAFLOW_INLINE void add_plain(int8_t* a, int64_t a_stride, const int8_t* b, int64_t b_stride, int64_t length,
                              int64_t channels, const SumView& sum) {
  const int a_left = sum.a_left, b_left = sum.b_left, right = sum.right;
  const bool narrow = sum.narrow(), half_up = sum.half_up;
  const int16_t odd = half_up || right == 0 ? 0 : 1;
  const int16_t rounds = narrow && right ? static_cast<int16_t>((1 << (right - 1)) - odd) : 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t first = 0; first < length; first += kLanes) {
      int8_t *to = a + c * a_stride + first, sums[kLanes];
      const int8_t* from = b + c * b_stride + first;
      if (narrow) {
        for (int64_t i = 0; i < kLanes; ++i) {
          const auto v = static_cast<int16_t>(to[i] * (1 << a_left) + from[i] * (1 << b_left) + rounds);
          const auto rounded = static_cast<int16_t>(static_cast<int16_t>(v + ((v >> right) & odd)) >> right);
          sums[i] = static_cast<int8_t>(std::min<int16_t>(std::max<int16_t>(rounded, -128), 127));
        }
      } else {
        for (int64_t i = 0; i < kLanes; ++i) {
          const int64_t v = to[i] * (int64_t{1} << a_left) + from[i] * (int64_t{1} << b_left);
          sums[i] = static_cast<int8_t>(std::clamp<int64_t>(shift_right(v, right, half_up), -128, 127));
        }
      }
      std::memcpy(to, sums, kLanes);
    }
  }
}

template <bool kPerLane, bool kScaled>
PSAFLOW_INLINE void requant_narrow_lanes(const int32_t* accumulators, const RequantView& r, int64_t row, int8_t* y) {
  const int32_t *mult = r.mult, *bias = r.bias, *shift = r.shift, *odd = r.odd, lo = r.lo, hi = r.hi;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    const int64_t at = kPerLane ? lane : row;
    auto v = static_cast<uint32_t>(accumulators[lane]);
    if (kScaled) v = v * static_cast<uint32_t>(mult[at]) + static_cast<uint32_t>(bias[at]);
    const auto value = static_cast<int32_t>(v);
    const int32_t rounded = (value + ((value >> shift[at]) & odd[at])) >> shift[at];
    y[lane] = static_cast<int8_t>(std::min(std::max(rounded, lo), hi));
  }
}

// accumulators [64], which began at r.start, of a product's row -> y [64]
PSAFLOW_INLINE void requant_plain(const int32_t* accumulators, const RequantView& r, int64_t row, int8_t* y) {
  int8_t bytes[kLanes];
  if (r.narrow && r.per_lane) {
    r.scaled ? requant_narrow_lanes<true, true>(accumulators, r, row, bytes)
             : requant_narrow_lanes<true, false>(accumulators, r, row, bytes);
  } else if (r.narrow) {
    r.scaled ? requant_narrow_lanes<false, true>(accumulators, r, row, bytes)
             : requant_narrow_lanes<false, false>(accumulators, r, row, bytes);
  } else {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const int64_t at = r.per_lane ? lane : row;
      const int64_t value = int64_t{accumulators[lane]} * r.mult[at] + r.bias[at];
      bytes[lane] = static_cast<int8_t>(std::clamp<int64_t>(shift_right(value, r.shift[at], r.half_up), r.lo, r.hi));
    }
  }
  std::memcpy(y, bytes, kLanes);
}
