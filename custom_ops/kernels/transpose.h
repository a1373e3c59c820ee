// Square matrices of 16 x 16 bytes, turned in vector registers.
#pragma once

#include "isa.h"

#if PSAFLOW_X86
#include <immintrin.h>

// Each transposes one matrix in every 128-bit lane of 16 registers, a row a register, by four perfect shuffles of the rows:
// one rotates the address (register, byte) by one of its eight bits.

PSAFLOW_AVX512 PSAFLOW_INLINE void transpose16(__m512i (&rows)[16]) {
  __m512i turned[16];
#pragma GCC unroll 2
  for (int twice = 0; twice < 2; ++twice) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      turned[2 * i] = _mm512_unpacklo_epi8(rows[i], rows[i + 8]);
      turned[2 * i + 1] = _mm512_unpackhi_epi8(rows[i], rows[i + 8]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      rows[2 * i] = _mm512_unpacklo_epi8(turned[i], turned[i + 8]);
      rows[2 * i + 1] = _mm512_unpackhi_epi8(turned[i], turned[i + 8]);
    }
  }
}

PSAFLOW_AVX2 PSAFLOW_INLINE void transpose16(__m256i (&rows)[16]) {
  __m256i turned[16];
#pragma GCC unroll 2
  for (int twice = 0; twice < 2; ++twice) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      turned[2 * i] = _mm256_unpacklo_epi8(rows[i], rows[i + 8]);
      turned[2 * i + 1] = _mm256_unpackhi_epi8(rows[i], rows[i + 8]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      rows[2 * i] = _mm256_unpacklo_epi8(turned[i], turned[i + 8]);
      rows[2 * i + 1] = _mm256_unpackhi_epi8(turned[i], turned[i + 8]);
    }
  }
}

PSAFLOW_AVX2 PSAFLOW_INLINE void transpose16(__m128i (&rows)[16]) {
  __m128i turned[16];
#pragma GCC unroll 2
  for (int twice = 0; twice < 2; ++twice) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      turned[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
      turned[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      rows[2 * i] = _mm_unpacklo_epi8(turned[i], turned[i + 8]);
      rows[2 * i + 1] = _mm_unpackhi_epi8(turned[i], turned[i + 8]);
    }
  }
}
#endif
