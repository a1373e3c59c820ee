// Tiles with AVX2: products of pairs of int16, whose sums fit int32 exactly.

#include "tile.h"
#include "tile_plain.h"
#include "transpose.h"

#if PSAFLOW_X86
#include <immintrin.h>

namespace {

PSAFLOW_AVX2 PSAFLOW_INLINE __m128i read16(const int8_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

PSAFLOW_AVX2 void load(const int8_t* x, int64_t stride, int64_t rows, int64_t channels, int8_t* planes,
                       int64_t plane_stride) {
  const int64_t whole = channels / 16 * 16;
  for (int64_t row = 0; row < kLanes; row += 16) {
    for (int64_t c = 0; c < whole; c += 16) {
      __m128i block[16];
      for (int64_t i = 0; i < 16; ++i) {
        block[i] = row + i < rows ? read16(x + (row + i) * stride + c) : _mm_setzero_si128();
      }
      transpose16(block);
      for (int64_t i = 0; i < 16; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(planes + (c + i) * plane_stride + row), block[i]);
      }
    }
  }
  load_plain(x + whole, stride, rows, channels - whole, planes + whole * plane_stride, plane_stride);
}

PSAFLOW_AVX2 void store(const int8_t* planes, int64_t plane_stride, int64_t rows, int64_t channels, int8_t* y,
                        int64_t stride) {
  const int64_t whole = channels / 16 * 16;
  for (int64_t row = 0; row < rows; row += 16) {
    for (int64_t c = 0; c < whole; c += 16) {
      __m128i block[16];
      for (int64_t i = 0; i < 16; ++i) block[i] = read16(planes + (c + i) * plane_stride + row);
      transpose16(block);
      for (int64_t i = 0; i < 16 && row + i < rows; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + (row + i) * stride + c), block[i]);
      }
    }
  }
  store_plain(planes + whole * plane_stride, plane_stride, rows, channels - whole, y + whole, stride);
}

PSAFLOW_AVX2 void lookup(int8_t* planes, int64_t stride, int64_t length, int64_t channels, const int8_t* tables) {
  lookup_plain(planes, stride, length, channels, tables);
}

PSAFLOW_AVX2 void add(int8_t* a, int64_t a_stride, const int8_t* b, int64_t b_stride, int64_t length,
                      int64_t channels, const SumView& sum) {
  add_plain(a, a_stride, b, b_stride, length, channels, sum);
}

// int16 [count, padded depth]
PSAFLOW_AVX2 void pack_rows(const int8_t* rows, int64_t stride, int64_t count, int64_t depth, uint8_t, void* packed) {
  auto* to = static_cast<int16_t*>(packed);
  for (int64_t row = 0; row < count; ++row, to += padded_depth(depth)) {
    for (int64_t k = 0; k < depth; ++k) to[k] = rows[row * stride + k];
    for (int64_t k = depth; k < padded_depth(depth); ++k) to[k] = 0;
  }
}

// int16 [padded depth / 2, 64, 2]
PSAFLOW_AVX2 void pack_lanes(const int8_t* planes, int64_t stride, int64_t depth, uint8_t, void* packed) {
  auto* to = static_cast<__m256i*>(packed);
  const auto plane = [&](int64_t k, int64_t lane) { return planes + k * stride + lane; };
  for (int64_t k = 0; k < padded_depth(depth); k += 2) {
    for (int64_t lane = 0; lane < kLanes; lane += 16, to += 2) {
      const __m128i even = k < depth ? read16(plane(k, lane)) : _mm_setzero_si128();
      const __m128i odd = k + 1 < depth ? read16(plane(k + 1, lane)) : _mm_setzero_si128();
      _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
      _mm256_storeu_si256(to + 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
    }
  }
}

// kRows rows by 32 of the 64 lanes, whose accumulators stay in registers
template <int kRows>
PSAFLOW_AVX2 PSAFLOW_INLINE void accumulate(const int16_t* a, const __m256i* b, int64_t depth, const RequantView& r,
                                            int64_t row, int64_t lane, int32_t (*accumulators)[kLanes]) {
  __m256i sums[kRows][4];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < 4; ++v) {
      sums[i][v] = r.per_lane ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r.start + lane + 8 * v))
                              : _mm256_set1_epi32(r.start[row + i]);
    }
  }
  for (int64_t k = 0; k < depth; k += 2, b += 8) {
    for (int i = 0; i < kRows; ++i) {
      int32_t pair;
      std::memcpy(&pair, a + i * depth + k, sizeof pair);
      const __m256i factor = _mm256_set1_epi32(pair);
      for (int v = 0; v < 4; ++v) {
        const __m256i products = _mm256_madd_epi16(_mm256_loadu_si256(b + lane / 8 + v), factor);
        sums[i][v] = _mm256_add_epi32(sums[i][v], products);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < 4; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(accumulators[i] + lane + 8 * v), sums[i][v]);
    }
  }
}

template <int kRows>
PSAFLOW_AVX2 PSAFLOW_INLINE void some_rows(const int16_t* a, const __m256i* b, int64_t depth, const RequantView& r,
                                           int64_t row, int8_t* y, int64_t y_stride) {
  int32_t accumulators[kRows][kLanes];
  for (int64_t lane = 0; lane < kLanes; lane += 32) accumulate<kRows>(a, b, depth, r, row, lane, accumulators);
  for (int i = 0; i < kRows; ++i) requant_plain(accumulators[i], r, row + i, y + (row + i) * y_stride);
}

PSAFLOW_AVX2 void product(const void* rows, const void* lanes, bool, int64_t count, int64_t depth,
                          const RequantView& requant, int8_t* y, int64_t y_stride) {
  const auto* a = static_cast<const int16_t*>(rows);
  const auto* b = static_cast<const __m256i*>(lanes);
  const int64_t padded = padded_depth(depth);
  int64_t row = 0;
  for (; row + 2 <= count; row += 2) some_rows<2>(a + row * padded, b, padded, requant, row, y, y_stride);
  if (row < count) some_rows<1>(a + row * padded, b, padded, requant, row, y, y_stride);
}

}  // namespace

const TileOps& avx2_tile_ops() {
  static const TileOps ops{0,   portable_tile_ops().slots, load, store, lookup, add, 2, pack_rows,
                           pack_lanes, product};
  return ops;
}
#endif
