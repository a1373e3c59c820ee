// Tiles with AVX-512 VNNI and VBMI: vpdpbusd multiplies unsigned by signed bytes, so activations are taken plus 128,
// and the accumulators start from what that adds; vpermi2b looks 64 bytes up at once.

#include "tile.h"
#include "tile_plain.h"
#include "transpose.h"

#if PSAFLOW_X86
#include <immintrin.h>

namespace {

// Bytes are widened and narrowed again by in-lane unpacks and packs: vector v of a product's four holds, of each
// group of 16 lanes, those 4v..4v+3.
constexpr uint8_t kSlots[kLanes] = {
    0, 1, 2,  3,  16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51, 4,  5,  6,  7,  20, 21,
    22, 23, 36, 37, 38, 39, 52, 53, 54, 55, 8,  9,  10, 11, 24, 25, 26, 27, 40, 41, 42, 43,
    56, 57, 58, 59, 12, 13, 14, 15, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63,
};

PSAFLOW_VNNI PSAFLOW_INLINE __m512i read64(const void* from) { return _mm512_loadu_si512(from); }

PSAFLOW_VNNI void load(const int8_t* x, int64_t stride, int64_t rows, int64_t channels, int8_t* planes,
                       int64_t plane_stride) {
  for (int64_t c = 0; c < channels; c += 16) {
    const int64_t count = std::min<int64_t>(16, channels - c);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    __m512i block[16];
    if (rows == kLanes && count == 16) {
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i) {
        const auto* from = reinterpret_cast<const __m128i*>(x + i * stride + c);
        const int64_t step = stride;  // 16 rows further: 16 * stride bytes, stride vectors
        block[i] = _mm512_castsi128_si512(_mm_loadu_si128(from));
        block[i] = _mm512_inserti32x4(block[i], _mm_loadu_si128(from + step), 1);
        block[i] = _mm512_inserti32x4(block[i], _mm_loadu_si128(from + 2 * step), 2);
        block[i] = _mm512_inserti32x4(block[i], _mm_loadu_si128(from + 3 * step), 3);
      }
    } else {
      for (int64_t i = 0; i < 16; ++i) {
        alignas(64) int8_t bytes[64] = {};
        for (int64_t group = 0; group < 4; ++group) {
          const int64_t row = 16 * group + i;
          if (row < rows) {
            const __m128i some = _mm_maskz_loadu_epi8(mask, x + row * stride + c);
            _mm_store_si128(reinterpret_cast<__m128i*>(bytes + 16 * group), some);
          }
        }
        block[i] = read64(bytes);
      }
    }
    transpose16(block);
    for (int64_t i = 0; i < count; ++i) _mm512_storeu_si512(planes + (c + i) * plane_stride, block[i]);
  }
}

PSAFLOW_VNNI void store(const int8_t* planes, int64_t plane_stride, int64_t rows, int64_t channels, int8_t* y,
                        int64_t stride) {
  for (int64_t c = 0; c < channels; c += 16) {
    const int64_t count = std::min<int64_t>(16, channels - c);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    __m512i block[16];
    for (int64_t i = 0; i < 16; ++i) {
      block[i] = i < count ? read64(planes + (c + i) * plane_stride) : _mm512_setzero_si512();
    }
    transpose16(block);
    if (rows == kLanes && count == 16) {
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i) {
        auto* to = reinterpret_cast<__m128i*>(y + i * stride + c);
        _mm_storeu_si128(to, _mm512_castsi512_si128(block[i]));
        _mm_storeu_si128(to + stride, _mm512_extracti32x4_epi32(block[i], 1));
        _mm_storeu_si128(to + 2 * stride, _mm512_extracti32x4_epi32(block[i], 2));
        _mm_storeu_si128(to + 3 * stride, _mm512_extracti32x4_epi32(block[i], 3));
      }
    } else {
      for (int64_t i = 0; i < 16; ++i) {
        alignas(64) int8_t bytes[64];
        _mm512_store_si512(bytes, block[i]);
        for (int64_t row = i, group = 0; row < rows; row += 16, ++group) {
          const __m128i some = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes + 16 * group));
          _mm_mask_storeu_epi8(y + row * stride + c, mask, some);
        }
      }
    }
  }
}

PSAFLOW_VNNI void lookup(int8_t* planes, int64_t stride, int64_t length, int64_t channels, const int8_t* tables) {
  for (int64_t c = 0; c < channels; ++c, tables += kTable) {
    const __m512i t0 = read64(tables), t1 = read64(tables + 64), t2 = read64(tables + 128), t3 = read64(tables + 192);
    for (int64_t i = 0; i < length; i += kLanes) {
      int8_t* plane = planes + c * stride + i;
      const __m512i codes = read64(plane);
      const __m512i low = _mm512_permutex2var_epi8(t0, codes, t1), high = _mm512_permutex2var_epi8(t2, codes, t3);
      _mm512_storeu_si512(plane, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(codes), high));
    }
  }
}

PSAFLOW_VNNI void add(int8_t* a, int64_t a_stride, const int8_t* b, int64_t b_stride, int64_t length,
                      int64_t channels, const SumView& sum) {
  if (!sum.narrow()) return add_plain(a, a_stride, b, b_stride, length, channels, sum);
  const bool even = !sum.half_up && sum.right > 0;
  const __m512i zero = _mm512_setzero_si512(), odd = _mm512_set1_epi16(even ? 1 : 0);
  const __m512i rounds = _mm512_set1_epi16(static_cast<int16_t>((sum.right ? 1 << (sum.right - 1) : 0) - even));
  const __m512i a_shift = _mm512_set1_epi16(static_cast<int16_t>(8 - sum.a_left));
  const __m512i b_shift = _mm512_set1_epi16(static_cast<int16_t>(8 - sum.b_left));
  const __m512i right = _mm512_set1_epi16(static_cast<int16_t>(sum.right));
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < length; i += kLanes) {
      const __m512i x = read64(a + c * a_stride + i), y = read64(b + c * b_stride + i);
      __m512i halves[2];
      for (int half = 0; half < 2; ++half) {  // a byte above a zero byte is the number times 256
        const __m512i wide_x = half ? _mm512_unpackhi_epi8(zero, x) : _mm512_unpacklo_epi8(zero, x);
        const __m512i wide_y = half ? _mm512_unpackhi_epi8(zero, y) : _mm512_unpacklo_epi8(zero, y);
        __m512i v = _mm512_add_epi16(_mm512_srav_epi16(wide_x, a_shift), _mm512_srav_epi16(wide_y, b_shift));
        v = _mm512_add_epi16(v, rounds);
        v = _mm512_add_epi16(v, _mm512_and_si512(_mm512_srav_epi16(v, right), odd));
        halves[half] = _mm512_srav_epi16(v, right);
      }
      _mm512_storeu_si512(a + c * a_stride + i, _mm512_packs_epi16(halves[0], halves[1]));
    }
  }
}

// int8 [count, padded depth]
PSAFLOW_VNNI void pack_rows(const int8_t* rows, int64_t stride, int64_t count, int64_t depth, uint8_t flip,
                            void* packed) {
  auto* to = static_cast<uint8_t*>(packed);
  for (int64_t row = 0; row < count; ++row, to += padded_depth(depth)) {
    for (int64_t k = 0; k < depth; ++k) to[k] = static_cast<uint8_t>(rows[row * stride + k]) ^ flip;
    for (int64_t k = depth; k < padded_depth(depth); ++k) to[k] = 0;
  }
}

// int8 [padded depth / 4, 64 slots, 4]
PSAFLOW_VNNI void pack_lanes(const int8_t* planes, int64_t stride, int64_t depth, uint8_t flip, void* packed) {
  auto* to = static_cast<__m512i*>(packed);
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip)), zero = _mm512_setzero_si512();
  for (int64_t k = 0; k < depth; k += 4, to += 4) {
    __m512i p[4];
    for (int64_t i = 0; i < 4; ++i) p[i] = k + i < depth ? _mm512_xor_si512(read64(planes + (k + i) * stride), flips) : zero;
    const __m512i low01 = _mm512_unpacklo_epi8(p[0], p[1]), high01 = _mm512_unpackhi_epi8(p[0], p[1]);
    const __m512i low23 = _mm512_unpacklo_epi8(p[2], p[3]), high23 = _mm512_unpackhi_epi8(p[2], p[3]);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi16(low01, low23));
    _mm512_storeu_si512(to + 1, _mm512_unpackhi_epi16(low01, low23));
    _mm512_storeu_si512(to + 2, _mm512_unpacklo_epi16(high01, high23));
    _mm512_storeu_si512(to + 3, _mm512_unpackhi_epi16(high01, high23));
  }
}

PSAFLOW_VNNI PSAFLOW_INLINE __m512i parameter(const int32_t* parameters, const RequantView& r, int64_t row, int v) {
  return r.per_lane ? read64(parameters + 16 * v) : _mm512_set1_epi32(parameters[row]);
}

// The narrow requantization of a row's four vectors of accumulators.
PSAFLOW_VNNI PSAFLOW_INLINE __m512i requant_narrow(__m512i (&sums)[4], const RequantView& r, int64_t row) {
  __m512i rounded[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    __m512i value = sums[v];
    if (r.scaled) {
      value = _mm512_mullo_epi32(value, parameter(r.mult, r, row, v));
      value = _mm512_add_epi32(value, parameter(r.bias, r, row, v));
    }
    const __m512i shift = parameter(r.shift, r, row, v);
    if (!r.half_up) {
      const __m512i odd = _mm512_and_si512(_mm512_srav_epi32(value, shift), parameter(r.odd, r, row, v));
      value = _mm512_add_epi32(value, odd);
    }
    rounded[v] = _mm512_srav_epi32(value, shift);
  }
  const __m512i low = _mm512_packs_epi32(rounded[0], rounded[1]), high = _mm512_packs_epi32(rounded[2], rounded[3]);
  const __m512i bytes = _mm512_packs_epi16(low, high);
  const __m512i lo = _mm512_set1_epi8(static_cast<char>(r.lo)), hi = _mm512_set1_epi8(static_cast<char>(r.hi));
  return _mm512_min_epi8(_mm512_max_epi8(bytes, lo), hi);
}

PSAFLOW_VNNI PSAFLOW_INLINE void requant_wide(__m512i (&sums)[4], const RequantView& r, int64_t row, int8_t* y) {
  int32_t slots[kLanes], accumulators[kLanes];
  for (int v = 0; v < 4; ++v) _mm512_storeu_si512(slots + 16 * v, sums[v]);
  for (int64_t slot = 0; slot < kLanes; ++slot) accumulators[kSlots[slot]] = slots[slot];
  requant_plain(accumulators, r, row, y);
}

template <int kRows, bool kFlippedLanes>
PSAFLOW_VNNI PSAFLOW_INLINE void some_rows(const uint8_t* a, const __m512i* b, int64_t depth, const RequantView& r,
                                           int64_t row, int8_t* y, int64_t y_stride) {
  __m512i sums[kRows][4];
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[i][v] = parameter(r.start, r, row + i, v);
  }
  for (int64_t k = 0; k < depth; k += 4, b += 4) {
    const __m512i lanes[4] = {read64(b), read64(b + 1), read64(b + 2), read64(b + 3)};
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      int32_t four;
      std::memcpy(&four, a + i * depth + k, sizeof four);
      const __m512i factor = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        sums[i][v] = kFlippedLanes ? _mm512_dpbusd_epi32(sums[i][v], lanes[v], factor)
                                   : _mm512_dpbusd_epi32(sums[i][v], factor, lanes[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    int8_t* to = y + (row + i) * y_stride;
    if (r.narrow) {
      _mm512_storeu_si512(to, requant_narrow(sums[i], r, row + i));
    } else {
      requant_wide(sums[i], r, row + i, to);
    }
  }
}

template <bool kFlippedLanes>
PSAFLOW_VNNI PSAFLOW_INLINE void all_rows(const uint8_t* a, const __m512i* b, int64_t count, int64_t depth,
                                          const RequantView& r, int8_t* y, int64_t y_stride) {
  int64_t row = 0;
  for (; row + 4 <= count; row += 4) some_rows<4, kFlippedLanes>(a + row * depth, b, depth, r, row, y, y_stride);
  for (; row < count; ++row) some_rows<1, kFlippedLanes>(a + row * depth, b, depth, r, row, y, y_stride);
}

PSAFLOW_VNNI void product(const void* rows, const void* lanes, bool flipped_lanes, int64_t count, int64_t depth,
                          const RequantView& requant, int8_t* y, int64_t y_stride) {
  const auto* a = static_cast<const uint8_t*>(rows);
  const auto* b = static_cast<const __m512i*>(lanes);
  const int64_t padded = padded_depth(depth);
  flipped_lanes ? all_rows<true>(a, b, count, padded, requant, y, y_stride)
                : all_rows<false>(a, b, count, padded, requant, y, y_stride);
}

}  // namespace

const TileOps& avx512_tile_ops() {
  static const TileOps ops{0x80, kSlots, load, store, lookup, add, 1, pack_rows, pack_lanes, product};
  return ops;
}
#endif
