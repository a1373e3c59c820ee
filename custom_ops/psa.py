"""PSA, the learnable 1-D function of Singh & Bazargan (ACM TRETS 2024, doi 10.1145/3705926), exactly."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.grid_lerp import GridLerp
from custom_ops.op import DOUBLE, FLOAT, Op


def psa(x, q_w, q_b, v, o_w, o_b, *, epsilon=1.0, residual=0):
    """x float32 [..., C]; q_w, q_b, v float32 [C, E]; o_w, o_b float32 [C] -> float32 [..., C]:

    f_c(x) = o_w[c] * sum_e softmax_e(-(x - q_b[c,e])**2 / (q_w[c,e]**2 + epsilon)) * v[c,e] * x + o_b[c],
    computed in float64 and rounded once to x's type; then + x if residual.
    """
    q_w, q_b, v, o_w, o_b = (np.asarray(parameter, np.float64) for parameter in (q_w, q_b, v, o_w, o_b))
    wide = np.asarray(x, np.float64)
    logits = -((wide[..., None] - q_b) ** 2) / (q_w**2 + np.float64(np.float32(epsilon)))
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    y = (o_w * (weights * v).sum(-1) * wide + o_b).astype(x.dtype)
    return y + x if residual else y


class PSA(Op):
    """Exact PSA, one softmax over the E expansion features per element. Accepts float32 or float64 x."""

    inputs = ("x", "q_w", "q_b", "v", "o_w", "o_b")
    types: ClassVar = {"x": (FLOAT, DOUBLE)} | dict.fromkeys(inputs[1:], (FLOAT,))
    attributes: ClassVar = {"epsilon": 1.0, "residual": 0}
    per_channel = True
    reference = staticmethod(psa)
    body = """
  q_w64 = Cast <to = 11> (q_w)
  q_b64 = Cast <to = 11> (q_b)
  v64 = Cast <to = 11> (v)
  o_w64 = Cast <to = 11> (o_w)
  o_b64 = Cast <to = 11> (o_b)
  x64 = Cast <to = 11> (x)
  epsilon = Constant <value_float: float = @epsilon> ()
  epsilon64 = Cast <to = 11> (epsilon)
  q_w_squared = Mul (q_w64, q_w64)
  spread = Add (q_w_squared, epsilon64)
  last = Constant <value_ints = [-1]> ()
  x_column = Unsqueeze (x64, last)
  away = Sub (x_column, q_b64)
  away_squared = Mul (away, away)
  ratio = Div (away_squared, spread)
  logits = Neg (ratio)
  weights = Softmax <axis = -1> (logits)
  weighted = Mul (weights, v64)
  value = ReduceSum <keepdims = 0> (weighted, last)
  gain = Mul (o_w64, value)
  product = Mul (gain, x64)
  f64 = Add (product, o_b64)
  f = CastLike (f64, x)
  residual = Constant <value_int: int = @residual> ()
  is_residual = Cast <to = 9> (residual)
  y = If (is_residual) <
    then_branch = with_x () => (sum) { sum = Add (f, x) },
    else_branch = alone () => (same) { same = Identity (f) }
  >
"""
    infer_node_datatype = GridLerp.infer_node_datatype
