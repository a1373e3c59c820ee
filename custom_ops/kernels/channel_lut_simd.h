// ChannelLUT in vector registers, for at least 16 channels. A register that holds one channel of many rows is looked
// up in that channel's table by byte permutations; so tiles of 16 channels are transposed on the way in and out.
// Lane L of register i holds, of rows 16 L .. 16 L + 15, first row 16 L + i of 16 channels, then channel i of 16 rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isa.h"
#include "transpose.h"

#if PSAFLOW_X86
#include <immintrin.h>

// Where a row of a tile starts; of one that is not full, a row past the last is the last once more.
template <bool kFull>
struct Rows {
  int64_t rows, stride;
  PSAFLOW_INLINE int64_t operator()(int64_t row) const { return (kFull ? row : std::min(row, rows - 1)) * stride; }
};

PSAFLOW_INLINE __m128i load16(const uint8_t* x) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x)); }
PSAFLOW_INLINE void store16(int8_t* y, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(y), v); }

namespace avx512 {

constexpr int64_t kTileRows = 64;

// 64 rows, or the `rows` that there are, of 16 channels.
template <bool kFull>
PSAFLOW_AVX512 PSAFLOW_INLINE void lut_tile(const uint8_t* x, const int8_t* entries, int64_t rows, int64_t stride,
                                            int8_t* y) {
  const Rows<kFull> at{rows, stride};
  __m512i r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    r[i] = _mm512_castsi128_si512(load16(x + at(i)));
    r[i] = _mm512_inserti32x4(r[i], load16(x + at(i + 16)), 1);
    r[i] = _mm512_inserti32x4(r[i], load16(x + at(i + 32)), 2);
    r[i] = _mm512_inserti32x4(r[i], load16(x + at(i + 48)), 3);
  }
  transpose16(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    const int8_t* t = entries + i * 256;
    const __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(t), r[i], _mm512_loadu_si512(t + 64));
    const __m512i high = _mm512_permutex2var_epi8(_mm512_loadu_si512(t + 128), r[i], _mm512_loadu_si512(t + 192));
    r[i] = _mm512_mask_blend_epi8(_mm512_movepi8_mask(r[i]), low, high);
  }
  transpose16(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    store16(y + at(i), _mm512_castsi512_si128(r[i]));
    store16(y + at(i + 16), _mm512_extracti32x4_epi32(r[i], 1));
    store16(y + at(i + 32), _mm512_extracti32x4_epi32(r[i], 2));
    store16(y + at(i + 48), _mm512_extracti32x4_epi32(r[i], 3));
  }
}

// x [rows, channels] -> y; entries [channels, 256]; channels >= 16. The last tile may overlap the one before.
PSAFLOW_AVX512 inline void lut_rows(const uint8_t* x, const int8_t* entries, int64_t rows, int64_t channels,
                                    int8_t* y) {
  for (int64_t row = 0; row < rows; row += kTileRows) {
    for (int64_t start = 0; start < channels; start += 16) {
      const int64_t c = std::min(start, channels - 16), from = row * channels + c, left = rows - row;
      if (left >= kTileRows) {
        lut_tile<true>(x + from, entries + c * 256, left, channels, y + from);
      } else {
        lut_tile<false>(x + from, entries + c * 256, left, channels, y + from);
      }
    }
  }
}

}  // namespace avx512

namespace avx2 {

constexpr int64_t kTileRows = 32;

PSAFLOW_AVX2 PSAFLOW_INLINE __m256i pick(const int8_t* entries, __m256i index) {
  const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(entries));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(chunk), index);
}

// 256 entries in 16 shuffles of 16; then bits 4, 5, 6 and 7 of the index choose among their results.
PSAFLOW_AVX2 PSAFLOW_INLINE __m256i lookup(const int8_t* t, __m256i index) {
  const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
  // a blend looks at a byte's highest bit
  const __m256i bit4 = _mm256_slli_epi16(index, 3), bit5 = _mm256_slli_epi16(index, 2);
  const __m256i bit6 = _mm256_slli_epi16(index, 1);
  __m256i of_128[2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half, t += 128) {
    __m256i of_32[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      of_32[k] = _mm256_blendv_epi8(pick(t + 32 * k, low), pick(t + 32 * k + 16, low), bit4);
    }
    const __m256i first = _mm256_blendv_epi8(of_32[0], of_32[1], bit5);
    of_128[half] = _mm256_blendv_epi8(first, _mm256_blendv_epi8(of_32[2], of_32[3], bit5), bit6);
  }
  return _mm256_blendv_epi8(of_128[0], of_128[1], index);
}

template <bool kFull>
PSAFLOW_AVX2 PSAFLOW_INLINE void lut_tile(const uint8_t* x, const int8_t* entries, int64_t rows, int64_t stride,
                                          int8_t* y) {
  const Rows<kFull> at{rows, stride};
  __m256i r[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    r[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(x + at(i))), load16(x + at(i + 16)), 1);
  }
  transpose16(r);
  for (int i = 0; i < 16; ++i) r[i] = lookup(entries + i * 256, r[i]);
  transpose16(r);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    store16(y + at(i), _mm256_castsi256_si128(r[i]));
    store16(y + at(i + 16), _mm256_extracti128_si256(r[i], 1));
  }
}

PSAFLOW_AVX2 inline void lut_rows(const uint8_t* x, const int8_t* entries, int64_t rows, int64_t channels, int8_t* y) {
  for (int64_t row = 0; row < rows; row += kTileRows) {
    for (int64_t start = 0; start < channels; start += 16) {
      const int64_t c = std::min(start, channels - 16), from = row * channels + c, left = rows - row;
      if (left >= kTileRows) {
        lut_tile<true>(x + from, entries + c * 256, left, channels, y + from);
      } else {
        lut_tile<false>(x + from, entries + c * 256, left, channels, y + from);
      }
    }
  }
}

}  // namespace avx2
#endif
