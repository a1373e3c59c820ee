/* Linear interpolation in one table per channel, channel-last, float32: y[r,c] = lerp(table[c,:], x[r,c]).
 *
 * t = (x + bound) * scale;  k = clip(floor(t), 0, G-2);  f = t - k;  y = table[c,k] + f * (table[c,k+1] - table[c,k]).
 * Built with -ffp-contract=off, so that the results equal PyTorch's and onnxruntime's separate multiply and add.
 * Rows are split over threads in fixed blocks, so that the table's gradient is the same in every run.
 */
#include <stdint.h>
#include <string.h>

static inline int segment(float t, int grid) {
  int k = (int)t; /* truncation equals floor for t >= 0; below 0 the clip takes over */
  k = k < 0 ? 0 : k;
  return k > grid - 2 ? grid - 2 : k;
}

/* The largest position that still converts to int32 safely; beyond it the last segment extrapolates anyway. */
static inline int clipped_segment(float t, int grid) {
  float bounded = t < 0.0f ? 0.0f : (t > (float)grid ? (float)grid : t);
  return segment(bounded, grid);
}

void lerp_forward(const float *x, const float *table, float *y, int64_t rows, int channels, int grid, float bound,
                  float scale) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < rows; r++) {
    const float *xr = x + r * channels;
    float *yr = y + r * channels;
    for (int c = 0; c < channels; c++) {
      float t = (xr[c] + bound) * scale;
      int k = clipped_segment(t, grid);
      float left = table[c * grid + k];
      float right = table[c * grid + k + 1];
      yr[c] = left + (t - (float)k) * (right - left);
    }
  }
}

/* partial: [blocks, channels, grid], zeroed by the caller; the caller sums it over blocks. */
void lerp_backward(const float *x, const float *table, const float *grad_y, float *grad_x, float *partial, int64_t rows,
                   int channels, int grid, float bound, float scale, int blocks) {
#pragma omp parallel for schedule(static, 1)
  for (int b = 0; b < blocks; b++) {
    float *grad_table = partial + (int64_t)b * channels * grid;
    int64_t begin = rows * b / blocks, end = rows * (b + 1) / blocks;
    for (int64_t r = begin; r < end; r++) {
      const float *xr = x + r * channels;
      const float *gr = grad_y + r * channels;
      float *gx = grad_x + r * channels;
      for (int c = 0; c < channels; c++) {
        float t = (xr[c] + bound) * scale;
        int k = clipped_segment(t, grid);
        float f = t - (float)k;
        int at = c * grid + k;
        float share = gr[c] * f;
        gx[c] = gr[c] * (table[at + 1] - table[at]) * scale;
        grad_table[at] += gr[c] - share;
        grad_table[at + 1] += share;
      }
    }
  }
}
