// Products of small row-major matrices in registers, and memory for them. Widths are multiples of 16.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int LANES = 16;
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

struct Buffer {  // floats, 64-byte aligned, zeroed
  float* data;
  explicit Buffer(size_t n) : data(static_cast<float*>(aligned_alloc(64, (n * 4 + 127) / 64 * 64))) { memset(data, 0, n * 4); }
  ~Buffer() { free(data); }
  Buffer(const Buffer&) = delete;
  operator float*() const { return data; }
};

inline vec& at(float* p) { return *reinterpret_cast<vec*>(p); }
inline const vec& at(const float* p) { return *reinterpret_cast<const vec*>(p); }

// C[MR, 16 NV] (+)= A[MR, K] . B[K, 16 NV]
template <int MR, int NV>
inline void tile(const float* a, int row, int col, const float* b, int ldb, float* c, int ldc, int depth, bool add) {
  vec sum[MR][NV];
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 6
    for (int v = 0; v < NV; v++) sum[r][v] = add ? at(c + r * ldc + v * LANES) : vec{};
  for (int k = 0; k < depth; k++) {
    vec right[NV];
#pragma GCC unroll 6
    for (int v = 0; v < NV; v++) right[v] = at(b + k * ldb + v * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
      vec left = vec{} + a[r * row + k * col];
#pragma GCC unroll 6
      for (int v = 0; v < NV; v++) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; r++)
#pragma GCC unroll 6
    for (int v = 0; v < NV; v++) at(c + r * ldc + v * LANES) = sum[r][v];
}

template <int MR, int NV>
inline void strip(int m, const float* a, int row, int col, const float* b, int ldb, float* c, int ldc, int depth, bool add) {
  int r = 0;
  for (; r + MR <= m; r += MR) tile<MR, NV>(a + r * row, row, col, b, ldb, c + r * ldc, ldc, depth, add);
  for (; r < m; r++) tile<1, NV>(a + r * row, row, col, b, ldb, c + r * ldc, ldc, depth, add);
}

// C[m, n] (+)= A[m, k] . B[k, n], A at a[r * row + k * col]; n a multiple of 16
void product(int m, int n, int k, const float* a, int row, int col, const float* b, int ldb, float* c, int ldc, bool add) {
  for (int at_n = 0; at_n < n;) {
    int left = (n - at_n) / LANES;
    const float* from = b + at_n;
    float* to = c + at_n;
    if (left >= 6) {
      strip<4, 6>(m, a, row, col, from, ldb, to, ldc, k, add);
      at_n += 6 * LANES;
    } else if (left >= 4) {
      strip<4, 4>(m, a, row, col, from, ldb, to, ldc, k, add);
      at_n += 4 * LANES;
    } else if (left >= 2) {
      strip<8, 2>(m, a, row, col, from, ldb, to, ldc, k, add);
      at_n += 2 * LANES;
    } else {
      strip<8, 1>(m, a, row, col, from, ldb, to, ldc, k, add);
      at_n += LANES;
    }
  }
}

void transpose(const float* from, int rows, int cols, float* to, int ld) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) to[c * ld + r] = from[r * cols + c];
}

}  // namespace
