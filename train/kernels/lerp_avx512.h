/* One tile of rows with AVX-512: 16 channels at a time.
 *
 * Up to 64 segments a channel's knots fit in registers: 16 x 16 elements are transposed, so that a vector holds 16 rows
 * of one channel, and a lookup is two permutations and a blend. Longer tables are gathered.
 */
#pragma once

#include <immintrin.h>

#include "lerp_types.h"

namespace {

constexpr int kTileRows = 128;
constexpr int kLanes = 16;
constexpr int kPairRows = 64; /* rows whose pairs are written before they are added; divides kTileRows */
constexpr int kInRegisters = 64; /* segments */

static inline __m512 load(const float *p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }

static inline __m512 load(const BFloat16 *p, __mmask16 m) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}

static inline void store(float *p, __mmask16 m, __m512 v) { _mm512_mask_storeu_ps(p, m, v); }

static inline void store(BFloat16 *p, __mmask16 m, __m512 v) {
  __m512i bits = _mm512_castps_si512(v);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  _mm256_mask_storeu_epi16(p, m, _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0))));
}

static inline void transpose(__m512 v[kLanes]) {
  __m512 t[kLanes];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int h = 0; h < 2; h++) {
      __m512d a = _mm512_castps_pd(t[i + h]), b = _mm512_castps_pd(t[i + 2 + h]);
      v[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      v[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; i++) {
    v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
  }
}

/* A block reads one line of each row, which hardware does not foresee: ask for the same place of the next tile. */
template <typename T>
static inline void prefetch_next_tile(const Lerp &l, const T *p) {
  __builtin_prefetch(reinterpret_cast<const void *>(reinterpret_cast<uintptr_t>(p) + sizeof(T) * l.channels * kTileRows), 0, 2);
}

struct Segments {
  __m512 f;
  __m512i k;
};

static inline Segments segments_of(const Lerp &l, __m512 x) {
  __m512 t = _mm512_mul_ps(_mm512_add_ps(x, _mm512_set1_ps(l.bound)), _mm512_set1_ps(l.scale));
  __m512 bounded = _mm512_max_ps(t, _mm512_setzero_ps()); /* NaN becomes 0, an index inside the table */
  bounded = _mm512_min_ps(bounded, _mm512_set1_ps(static_cast<float>(l.grid - 2)));
  __m512i k = _mm512_cvttps_epi32(bounded);
  return {_mm512_sub_ps(t, _mm512_cvtepi32_ps(k)), k};
}

/* Up to 64 numbers in four registers. */
struct Row64 {
  __m512 v[4];

  __m512 at(__m512i k) const {
    __m512 low = _mm512_permutex2var_ps(v[0], k, v[1]), high = _mm512_permutex2var_ps(v[2], k, v[3]);
    return _mm512_mask_mov_ps(low, _mm512_test_epi32_mask(k, _mm512_set1_epi32(32)), high);
  }
};

/* The left knots of a channel's segments and their rises. */
static inline void knots_of(const Lerp &l, int c, Row64 &left, Row64 &rise) {
  const float *knots = l.table + static_cast<int64_t>(c) * l.grid;
  for (int i = 0; i < 4; i++) {
    int here = l.grid - 1 - 16 * i;
    __mmask16 m = here >= 16 ? 0xffff : here > 0 ? static_cast<__mmask16>((1 << here) - 1) : 0;
    left.v[i] = _mm512_maskz_loadu_ps(m, knots + 16 * i);
    rise.v[i] = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, knots + 16 * i + 1), left.v[i]);
  }
}

/* Left and right knots of 16 channels from `knots` on, by gathering. */
static inline void gather(const Lerp &l, const float *knots, __mmask16 m, __m512i k, __m512 &left, __m512 &rise) {
  __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i at = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(l.grid)), k);
  left = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, at, knots, 4);
  rise = _mm512_sub_ps(_mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, at, knots + 1, 4), left);
}

static inline __mmask16 lanes(int count) { return count >= kLanes ? 0xffff : static_cast<__mmask16>((1 << count) - 1); }

/* One channel block (channels c .. c+15, mask m) whose knots fit in registers. */
template <typename T>
static inline void forward_block(const Lerp &l, const T *x, T *y, int rows, int c, __mmask16 m) {
  alignas(64) float turned[kLanes][kTileRows];
  for (int r = 0; r < rows; r += kLanes) {
    __m512 v[kLanes];
    for (int i = 0; i < kLanes; i++) {
      int64_t at = static_cast<int64_t>(std::min(r + i, rows - 1)) * l.channels + c;
      prefetch_next_tile(l, x + at);
      __builtin_prefetch(y + at, 1);
      v[i] = load(x + at, m);
    }
    transpose(v);
    for (int i = 0; i < kLanes; i++) _mm512_store_ps(&turned[i][r], v[i]);
  }
  for (int i = 0, count = std::min(kLanes, l.channels - c); i < count; i++) {
    Row64 left, rise;
    knots_of(l, c + i, left, rise);
    for (int r = 0; r < rows; r += kLanes) {
      Segments s = segments_of(l, _mm512_load_ps(&turned[i][r]));
      _mm512_store_ps(&turned[i][r], _mm512_add_ps(left.at(s.k), _mm512_mul_ps(s.f, rise.at(s.k))));
    }
  }
  for (int r = 0; r < rows; r += kLanes) {
    __m512 v[kLanes];
    for (int i = 0; i < kLanes; i++) v[i] = _mm512_load_ps(&turned[i][r]);
    transpose(v);
    for (int i = 0; i < std::min(kLanes, rows - r); i++) store(y + static_cast<int64_t>(r + i) * l.channels + c, m, v[i]);
  }
}

template <typename T>
void forward_tile(const Lerp &l, const T *x, T *y, int rows) {
  for (int c = 0; c < l.channels; c += kLanes) {
    __mmask16 m = lanes(l.channels - c);
    if (l.grid - 1 <= kInRegisters) {
      forward_block(l, x, y, rows, c, m);
      continue;
    }
    const float *knots = l.table + static_cast<int64_t>(c) * l.grid;
    for (int r = 0; r < rows; r++) {
      int64_t at = static_cast<int64_t>(r) * l.channels + c;
      Segments s = segments_of(l, load(x + at, m));
      __m512 left, rise;
      gather(l, knots, m, s.k, left, rise);
      store(y + at, m, _mm512_add_ps(left, _mm512_mul_ps(s.f, rise)));
    }
  }
}

/* (g, g*f) and the number of its sum for a block's elements. Many rows are written before the first is added, because a
 * narrow load of what a wide store has just written waits until that store has reached the cache. */
struct Pairs {
  alignas(64) float pair[kPairRows][kLanes][2];
  alignas(64) int32_t at[kPairRows][kLanes];

  void set(int row, const Lerp &l, __m512 g, const Segments &s) {
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512 share = _mm512_mul_ps(g, s.f);
    _mm512_store_ps(pair[row][0], _mm512_permutex2var_ps(g, low, share));
    _mm512_store_ps(pair[row][8], _mm512_permutex2var_ps(g, _mm512_add_epi32(low, _mm512_set1_epi32(8)), share));
    _mm512_store_si512(at[row], _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(l.grid - 1)), s.k));
  }

  void add(float *sums, int row, int lane) const {
    auto *sum = reinterpret_cast<__m128i *>(sums + 2 * static_cast<int64_t>(at[row][lane]));
    __m128 more = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(pair[row][lane])));
    _mm_storel_epi64(sum, _mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(_mm_loadl_epi64(sum)), more)));
  }

  /* sums[lane][k] += pair, for `count` lanes of `rows` rows. */
  void add_to(float *sums, int rows, int count) const {
    for (int r = 0; r < rows; r++) {
      if (count == kLanes) {
        for (int i = 0; i < kLanes; i++) add(sums, r, i);
      } else {
        for (int i = 0; i < count; i++) add(sums, r, i);
      }
    }
  }
};

/* sums [channels, grid - 1, 2] gains (sum g, sum g*f) of these rows. */
template <typename T>
void backward_tile(const Lerp &l, const T *x, const T *grad, T *grad_x, float *sums, int rows) {
  alignas(64) float turned[kLanes][kTileRows]; /* first the segments' numbers, then their rises */
  Pairs pairs;
  bool in_registers = l.grid - 1 <= kInRegisters;
  __m512 scale = _mm512_set1_ps(l.scale);
  for (int c = 0; c < l.channels; c += kLanes) {
    int count = std::min(kLanes, l.channels - c);
    __mmask16 m = lanes(count);
    const float *knots = l.table + static_cast<int64_t>(c) * l.grid;
    float *own = sums + static_cast<int64_t>(c) * (l.grid - 1) * 2;
    for (int r = 0; r < rows; r += kLanes) {
      __m512 v[kLanes] = {};
      for (int i = 0; i < std::min(kLanes, rows - r); i++) {
        int64_t at = static_cast<int64_t>(r + i) * l.channels + c;
        prefetch_next_tile(l, x + at);
        prefetch_next_tile(l, grad + at);
        __builtin_prefetch(grad_x + at, 1);
        Segments s = segments_of(l, load(x + at, m));
        __m512 g = load(grad + at, m);
        pairs.set((r + i) % kPairRows, l, g, s);
        v[i] = _mm512_castsi512_ps(s.k);
        if (!in_registers) {
          __m512 left, rise;
          gather(l, knots, m, s.k, left, rise);
          store(grad_x + at, m, _mm512_mul_ps(_mm512_mul_ps(g, rise), scale));
        }
      }
      int filled = std::min(r + kLanes, rows) - r / kPairRows * kPairRows;
      if (filled == kPairRows || r + kLanes >= rows) pairs.add_to(own, filled, count);
      if (!in_registers) continue;
      transpose(v);
      for (int i = 0; i < kLanes; i++) _mm512_store_ps(&turned[i][r], v[i]);
    }
    if (!in_registers) continue;
    for (int i = 0; i < count; i++) {
      Row64 left, rise;
      knots_of(l, c + i, left, rise);
      for (int r = 0; r < rows; r += kLanes) {
        __m512i k = _mm512_load_si512(&turned[i][r]);
        _mm512_store_ps(&turned[i][r], rise.at(k));
      }
    }
    for (int r = 0; r < rows; r += kLanes) {
      __m512 v[kLanes];
      for (int i = 0; i < kLanes; i++) v[i] = _mm512_load_ps(&turned[i][r]);
      transpose(v);
      for (int i = 0; i < std::min(kLanes, rows - r); i++) {
        int64_t at = static_cast<int64_t>(r + i) * l.channels + c;
        store(grad_x + at, m, _mm512_mul_ps(_mm512_mul_ps(load(grad + at, m), v[i]), scale));
      }
    }
  }
}

}  // namespace
