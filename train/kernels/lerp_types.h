/* What the portable and the AVX-512 kernel share: the function's description, bfloat16. */
#pragma once

#include <cstdint>
#include <cstring>

/* table [channels, grid] on `grid` points of [-bound, bound]; scale = (grid - 1) / (2 * bound). */
struct Lerp {
  const float *table;
  int channels, grid;
  float bound, scale;
};

struct BFloat16 {
  uint16_t bits;
};

static inline float to_float(float v) { return v; }

static inline float to_float(BFloat16 v) {
  uint32_t bits = static_cast<uint32_t>(v.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

static inline void from_float(float v, float *out) { *out = v; }

/* Rounds half to even, as PyTorch does. */
static inline void from_float(float v, BFloat16 *out) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  out->bits = v != v ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
