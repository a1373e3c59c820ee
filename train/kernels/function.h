// Functions per channel on tiles [rows, width], forward and backward: an interpolated table, ReLU, or identity.
#pragma once
#include <algorithm>
#include <vector>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "product.h"

namespace {

struct Pair {
  float value, rise;  // at a knot, and up to the next one
};

struct Function {  // per channel, on tiles [rows, width], width a multiple of 16
  int channels, width, grid;
  float bound, scale;
  std::vector<Pair> pairs;  // [width, grid]; empty: identity or ReLU
  bool relu;

  Function(const float* table, int channels, int width, int grid, float bound, bool relu)
      : channels(channels), width(width), grid(grid), bound(bound), scale((grid - 1) / (2 * bound)), relu(relu) {
    if (!grid) return;
    pairs.resize(size_t(width) * grid);
    for (int c = 0; c < channels; c++)
      for (int g = 0; g < grid; g++) {
        float value = table[c * grid + g];
        pairs[c * grid + g] = {value, g + 1 < grid ? table[c * grid + g + 1] - value : 0.0f};
      }
  }

#ifdef __AVX512F__
  inline void find(__m512 x, int c, __m512i& index, __m512& part, __m512& value, __m512& rise) const {
    __m512 t = _mm512_mul_ps(_mm512_add_ps(x, _mm512_set1_ps(bound)), _mm512_set1_ps(scale));
    __m512 inside = _mm512_min_ps(_mm512_max_ps(t, _mm512_setzero_ps()), _mm512_set1_ps(float(grid - 1)));
    __m512i k = _mm512_min_epi32(_mm512_cvttps_epi32(inside), _mm512_set1_epi32(grid - 2));
    part = _mm512_sub_ps(t, _mm512_cvtepi32_ps(k));
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i base = _mm512_mullo_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(c)), _mm512_set1_epi32(grid));
    index = _mm512_add_epi32(k, base);
    __m512 low = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_castsi512_si256(index), pairs.data(), 8));
    __m512 high = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(index, 1), pairs.data(), 8));
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    value = _mm512_permutex2var_ps(low, even, high);
    rise = _mm512_permutex2var_ps(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high);
  }
#endif
  inline int find(float x, int c, float& part) const {
    float t = (x + bound) * scale;
    float inside = t > 0 ? (t < float(grid - 1) ? t : float(grid - 1)) : 0.0f;
    int k = std::min(int(inside), grid - 2);
    part = t - float(k);
    return c * grid + k;
  }

  void forward(const float* in, float* out, int rows) const {
    if (pairs.empty()) {
      for (int i = 0; i < rows * width; i++) out[i] = relu ? std::max(in[i], 0.0f) : in[i];
      return;
    }
    for (int r = 0; r < rows; r++, in += width, out += width) {
#ifdef __AVX512F__
      for (int c = 0; c < width; c += LANES) {
        __m512i index;
        __m512 part, value, rise;
        find(_mm512_loadu_ps(in + c), c, index, part, value, rise);
        _mm512_storeu_ps(out + c, _mm512_fmadd_ps(part, rise, value));
      }
#else
      for (int c = 0; c < width; c++) {
        float part;
        const Pair& p = pairs[find(in[c], c, part)];
        out[c] = p.value + part * p.rise;
      }
#endif
    }
  }

  // g <- gradient of the input; sums [width, grid] of (g, g * part) per piece
  void backward(const float* in, float* g, int rows, Pair* sums) const {
    if (pairs.empty()) {
      if (relu)
        for (int i = 0; i < rows * width; i++) g[i] = in[i] > 0 ? g[i] : 0.0f;
      return;
    }
    for (int r = 0; r < rows; r++, in += width, g += width) {
#ifdef __AVX512F__
      for (int c = 0; c < width; c += LANES) {
        __m512i index;
        __m512 part, value, rise;
        find(_mm512_loadu_ps(in + c), c, index, part, value, rise);
        __m512 up = _mm512_loadu_ps(g + c);
        _mm512_storeu_ps(g + c, _mm512_mul_ps(_mm512_mul_ps(up, rise), _mm512_set1_ps(scale)));
        __m512 share = _mm512_mul_ps(up, part);
        alignas(64) int where[LANES];
        alignas(64) float what[2 * LANES];
        const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        _mm512_store_si512(where, index);
        _mm512_store_ps(what, _mm512_permutex2var_ps(up, low, share));
        _mm512_store_ps(what + LANES, _mm512_permutex2var_ps(up, _mm512_add_epi32(low, _mm512_set1_epi32(8)), share));
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) {
          __m64* sum = reinterpret_cast<__m64*>(sums + where[i]);
          __m128 old = _mm_loadl_pi(_mm_setzero_ps(), sum);
          _mm_storel_pi(sum, _mm_add_ps(old, _mm_loadl_pi(_mm_setzero_ps(), reinterpret_cast<const __m64*>(what + 2 * i))));
        }
      }
#else
      for (int c = 0; c < width; c++) {
        float part, up = g[c];
        int k = find(in[c], c, part);
        g[c] = up * pairs[k].rise * scale;
        sums[k].value += up;
        sums[k].rise += up * part;
      }
#endif
    }
  }
};

}  // namespace
