// The learnable function itself; for PSA and LerpPSA.
#pragma once

#include "tensor.h"

// f_c(x) = o_w[c] * sum_e softmax_e(-(x - q_b[c,e])**2 / (q_w[c,e]**2 + epsilon)) * v[c,e] * x + o_b[c], in double.
class Psa {
 public:
  // inputs: q_w, q_b, v float [channels, features], o_w, o_b float [channels], all checked; they must outlive this
  Psa(const Tensor inputs[5], float epsilon);

  int64_t channels() const { return channels_; }
  int64_t features() const { return features_; }

  // weights: room for `features` numbers
  double operator()(double x, int64_t channel, double* weights) const;

  // Why these are no such inputs; empty if they are.
  static std::string fault(const Tensor inputs[5]);

 private:
  const float *q_b_, *v_, *o_w_, *o_b_;
  int64_t channels_, features_;
  std::vector<double> spread_;  // q_w**2 + epsilon
};
