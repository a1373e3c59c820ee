// A float table per channel on an even grid, ready for interpolation; for GridLerp and LerpPSA.
#pragma once

#include "isa.h"
#include "parallel.h"

class LerpTable {
 public:
  // table float [channels, points] on [-bound, bound]; points >= 2
  LerpTable(const float* table, int64_t channels, int64_t points, float bound);

  // x float [rows, channels] -> y, on the session's threads; plus x if residual
  void run(const OrtApi& api, const OrtKernelContext* context, Isa isa, const float* x, int64_t rows, bool residual,
           float* y) const;

 private:
  struct Loop;

  int64_t channels_, segments_;
  float bound_, per_unit_;
  std::vector<float> segments_of_;  // [channels, segments, 2]: the left value, and how much it rises to the right one
};
