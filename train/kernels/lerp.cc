/* Linear interpolation in one table per channel, channel-last: y[r,c] = lerp(table[c,:], x[r,c]).
 *
 * t = (x + bound) * scale;  k = clip(floor(t), 0, G-2);  f = t - k;  y = left + f * (right - left),
 * left = table[c,k], right = table[c,k+1]. x, y and their gradients are float32 or bfloat16, the table is float32, and
 * all arithmetic is float32. Built with -ffp-contract=off, so that the results equal PyTorch's and onnxruntime's
 * separate multiply and add to the bit.
 *
 * The backward sums the pair (g, g*f) per segment, one memory access for both, and makes knots of segments at the end:
 * dtable[k] = (sum g - sum g*f)[k] + (sum g*f)[k-1]. Rows are split into fixed blocks with a sum each, so that the
 * result is the same for any number of threads.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "lerp_types.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && !defined(LERP_PORTABLE)
#include "lerp_avx512.h"
#else
#include "lerp_portable.h"
#endif

namespace {

constexpr int64_t kSerial = 1 << 15; /* elements below which a second thread costs more than it brings */

template <typename T>
void forward(const Lerp &l, const T *x, T *y, int64_t rows, int threads) {
  int64_t tiles = (rows + kTileRows - 1) / kTileRows;
#pragma omp parallel for schedule(static) num_threads(threads) if (rows * l.channels > kSerial)
  for (int64_t tile = 0; tile < tiles; tile++) {
    int64_t at = tile * kTileRows * l.channels;
    forward_tile(l, x + at, y + at, static_cast<int>(std::min<int64_t>(kTileRows, rows - tile * kTileRows)));
  }
}

/* sums [blocks, channels, segments, 2] -> grad_table [channels, grid]. */
void knots_of_segments(const Lerp &l, const float *sums, int blocks, float *grad_table) {
  int segments = l.grid - 1;
  int64_t block = static_cast<int64_t>(l.channels) * segments * 2;
  for (int c = 0; c < l.channels; c++) {
    float *out = grad_table + static_cast<int64_t>(c) * l.grid;
    const float *in = sums + static_cast<int64_t>(c) * segments * 2;
    std::memset(out, 0, sizeof(float) * l.grid);
    for (int b = 0; b < blocks; b++) {
      const float *s = in + b * block;
      for (int k = 0; k < segments; k++) out[k] += s[2 * k] - s[2 * k + 1];
      for (int k = 0; k < segments; k++) out[k + 1] += s[2 * k + 1];
    }
  }
}

template <typename T>
void backward(const Lerp &l, const T *x, const T *grad, T *grad_x, float *sums, int64_t rows, int blocks, int threads) {
  int64_t block_size = static_cast<int64_t>(l.channels) * (l.grid - 1) * 2;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (rows * l.channels > kSerial)
  for (int b = 0; b < blocks; b++) {
    float *own = sums + b * block_size;
    std::memset(own, 0, sizeof(float) * block_size);
    int64_t begin = rows * b / blocks, end = rows * (b + 1) / blocks;
    for (int64_t r = begin; r < end; r += kTileRows) {
      int64_t at = r * l.channels;
      backward_tile(l, x + at, grad + at, grad_x + at, own, static_cast<int>(std::min<int64_t>(kTileRows, end - r)));
    }
  }
}

}  // namespace

/* x, y [rows, channels] of float32 (bf16 = 0) or bfloat16 (bf16 = 1); table [channels, grid] float32. */
extern "C" void lerp_forward(const void *x, const float *table, void *y, int64_t rows, int channels, int grid, float bound,
                             float scale, int bf16, int threads) {
  Lerp l{table, channels, grid, bound, scale};
  if (bf16)
    forward(l, static_cast<const BFloat16 *>(x), static_cast<BFloat16 *>(y), rows, threads);
  else
    forward(l, static_cast<const float *>(x), static_cast<float *>(y), rows, threads);
}

/* sums: room for [blocks, channels, grid - 1, 2] float32; grad_table [channels, grid] float32 is overwritten. */
extern "C" void lerp_backward(const void *x, const float *table, const void *grad, void *grad_x, float *grad_table, float *sums,
                              int64_t rows, int channels, int grid, float bound, float scale, int bf16, int blocks, int threads) {
  Lerp l{table, channels, grid, bound, scale};
  if (bf16)
    backward(l, static_cast<const BFloat16 *>(x), static_cast<const BFloat16 *>(grad), static_cast<BFloat16 *>(grad_x), sums, rows,
             blocks, threads);
  else
    backward(l, static_cast<const float *>(x), static_cast<const float *>(grad), static_cast<float *>(grad_x), sums, rows, blocks,
             threads);
  knots_of_segments(l, sums, blocks, grad_table);
}
