// GridLerp's inner loop for AVX2 and AVX-512: a segment, two floats, is gathered as one number of 64 bits.
#pragma once

#include <cstdint>

#include "isa.h"

#if PSAFLOW_X86
#include <immintrin.h>

// Both: x [channels] -> y, as many channels as fill vectors; returns how many that is. The same steps as the loop that
// does the others (grid_lerp.cc), in the same order.
namespace avx512 {

PSAFLOW_AVX512 PSAFLOW_INLINE int32_t lerp_row(const float* x, const float* table, int32_t channels, int32_t segments,
                                               float bound, float per_unit, bool residual, float* y) {
  const __m512 last = _mm512_set1_ps(static_cast<float>(segments - 1));
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  const __m512i step = _mm512_set1_epi32(16 * segments);
  __m512i row = _mm512_mullo_epi32(_mm512_srli_epi32(evens, 1), _mm512_set1_epi32(segments));
  int32_t c = 0;
  for (; c + 16 <= channels; c += 16, row = _mm512_add_epi32(row, step)) {
    const __m512 v = _mm512_loadu_ps(x + c);
    const __m512 t = _mm512_mul_ps(_mm512_add_ps(v, _mm512_set1_ps(bound)), _mm512_set1_ps(per_unit));
    // of a maximum with what is not a number the second operand comes out
    const __m512i k = _mm512_cvttps_epi32(_mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), last));
    const __m512i at = _mm512_add_epi32(row, k);
    const __m512 f = _mm512_sub_ps(t, _mm512_cvtepi32_ps(k));
    const __m512 first = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_castsi512_si256(at), table, 8));
    const __m512 second = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(at, 1), table, 8));
    const __m512 left = _mm512_permutex2var_ps(first, evens, second);
    const __m512 rise = _mm512_permutex2var_ps(first, odds, second);
    const __m512 lerped = _mm512_add_ps(left, _mm512_mul_ps(f, rise));
    _mm512_storeu_ps(y + c, residual ? _mm512_add_ps(lerped, v) : lerped);
  }
  return c;
}

}  // namespace avx512

namespace avx2 {

PSAFLOW_AVX2 PSAFLOW_INLINE int32_t lerp_row(const float* x, const float* table, int32_t channels, int32_t segments,
                                             float bound, float per_unit, bool residual, float* y) {
  const __m256 last = _mm256_set1_ps(static_cast<float>(segments - 1));
  const __m256i step = _mm256_set1_epi32(8 * segments);
  __m256i row = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(segments));
  const auto* pairs = reinterpret_cast<const double*>(table);
  int32_t c = 0;
  for (; c + 8 <= channels; c += 8, row = _mm256_add_epi32(row, step)) {
    const __m256 v = _mm256_loadu_ps(x + c);
    const __m256 t = _mm256_mul_ps(_mm256_add_ps(v, _mm256_set1_ps(bound)), _mm256_set1_ps(per_unit));
    const __m256i k = _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), last));
    // gathered so that shuffles within lanes put lefts and rises back in order: channels 0 1 4 5, then 2 3 6 7
    const __m256i at = _mm256_permute4x64_epi64(_mm256_add_epi32(row, k), 0xd8);
    const __m256 f = _mm256_sub_ps(t, _mm256_cvtepi32_ps(k));
    const __m256 first = _mm256_castpd_ps(_mm256_i32gather_pd(pairs, _mm256_castsi256_si128(at), 8));
    const __m256 second = _mm256_castpd_ps(_mm256_i32gather_pd(pairs, _mm256_extracti128_si256(at, 1), 8));
    const __m256 left = _mm256_shuffle_ps(first, second, 0x88), rise = _mm256_shuffle_ps(first, second, 0xdd);
    const __m256 lerped = _mm256_add_ps(left, _mm256_mul_ps(f, rise));
    _mm256_storeu_ps(y + c, residual ? _mm256_add_ps(lerped, v) : lerped);
  }
  return c;
}

}  // namespace avx2
#endif
