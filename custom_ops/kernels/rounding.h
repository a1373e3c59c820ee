// Division by a power of two, rounded as the attribute `rounding` says (custom_ops/rounding.py).
#pragma once

#include <cstdint>

#include "isa.h"

// round(value / 2**shift): ties up, else to the even integer; >> of a negative number is arithmetic in every compiler in use
PSAFLOW_INLINE int64_t shift_right(int64_t value, int shift, bool half_up) {
  if (shift == 0) return value;
  const int64_t half = int64_t{1} << (shift - 1);
  return half_up ? (value + half) >> shift : (value + half - 1 + ((value >> shift) & 1)) >> shift;
}
