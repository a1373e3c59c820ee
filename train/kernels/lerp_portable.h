/* One tile of rows in plain C++, for any CPU. */
#pragma once

#include "lerp_types.h"

namespace {

constexpr int kTileRows = 64;

struct Segment {
  int k;
  float f;
};

static inline Segment segment(const Lerp &l, float x) {
  float t = (x + l.bound) * l.scale;
  float last = static_cast<float>(l.grid - 2);
  float bounded = t > 0.0f ? t : 0.0f; /* NaN becomes 0, an index inside the table */
  int k = static_cast<int>(bounded < last ? bounded : last);
  return {k, t - static_cast<float>(k)};
}

template <typename T>
void forward_tile(const Lerp &l, const T *x, T *y, int rows) {
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < l.channels; c++) {
      Segment s = segment(l, to_float(x[c]));
      const float *knots = l.table + static_cast<int64_t>(c) * l.grid + s.k;
      from_float(knots[0] + s.f * (knots[1] - knots[0]), &y[c]);
    }
    x += l.channels, y += l.channels;
  }
}

/* sums [channels, grid - 1, 2] gains (sum g, sum g*f) of these rows. */
template <typename T>
void backward_tile(const Lerp &l, const T *x, const T *grad, T *grad_x, float *sums, int rows) {
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < l.channels; c++) {
      Segment s = segment(l, to_float(x[c]));
      const float *knots = l.table + static_cast<int64_t>(c) * l.grid + s.k;
      float g = to_float(grad[c]);
      from_float(g * (knots[1] - knots[0]) * l.scale, &grad_x[c]);
      float *pair = sums + 2 * (static_cast<int64_t>(c) * (l.grid - 1) + s.k);
      pair[0] += g;
      pair[1] += g * s.f;
    }
    x += l.channels, grad += l.channels, grad_x += l.channels;
  }
}

}  // namespace
