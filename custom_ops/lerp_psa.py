"""LerpPSA: PSA evaluated on an even grid only, linear in between (Singh & Bazargan, doi 10.1145/3705926)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.grid_lerp import GridLerp, grid_lerp
from custom_ops.op import FLOAT, Op
from custom_ops.psa import PSA, psa


def lerp_psa_table(q_w, q_b, v, o_w, o_b, *, epsilon=1.0, grid=64, bound=4.0) -> np.ndarray:
    """PSA's parameters -> its table float32 [C, grid] at equally spaced points of [-bound, bound]."""
    points = np.arange(grid, dtype=np.float64) * (2.0 * bound / (grid - 1)) - bound
    return psa(points[:, None], q_w, q_b, v, o_w, o_b, epsilon=epsilon).T.astype(np.float32)


def lerp_psa(x, q_w, q_b, v, o_w, o_b, *, epsilon=1.0, grid=64, bound=4.0, residual=0):
    """x float32 [..., C]; q_w, q_b, v [C, E]; o_w, o_b [C] -> float32 [..., C]: GridLerp of PSA's table."""
    table = lerp_psa_table(q_w, q_b, v, o_w, o_b, epsilon=epsilon, grid=grid, bound=bound)
    return grid_lerp(x, table, bound, residual)


class LerpPSA(Op):
    """PSA as it is trained and exported, its parameters still inputs; a pass turns it into GridLerp."""

    inputs = PSA.inputs
    types: ClassVar = dict.fromkeys(inputs, (FLOAT,))
    attributes: ClassVar = {"epsilon": 1.0, "grid": 64, "bound": 4.0, "residual": 0}
    per_channel = True
    reference = staticmethod(lerp_psa)
    body = """
  zero_i = Constant <value_int = 0> ()
  one_i = Constant <value_int = 1> ()
  one = Constant <value = double {1.0}> ()
  two = Constant <value = double {2.0}> ()
  grid = Constant <value_int: int = @grid> ()
  grid64 = Cast <to = 11> (grid)
  bound = Constant <value_float: float = @bound> ()
  bound64 = Cast <to = 11> (bound)
  number_i = Range (zero_i, grid, one_i)
  number = Cast <to = 11> (number_i)
  range = Mul (two, bound64)
  segments = Sub (grid64, one)
  spacing = Div (range, segments)
  from_left = Mul (number, spacing)
  points = Sub (from_left, bound64)
  last = Constant <value_ints = [-1]> ()
  column = Unsqueeze (points, last)
  transposed64 = psaflow.PSA <epsilon: float = @epsilon> (column, q_w, q_b, v, o_w, o_b)
  table64 = Transpose <perm = [1, 0]> (transposed64)
  table = Cast <to = 1> (table64)
  y = psaflow.GridLerp <bound: float = @bound, residual: int = @residual> (x, table)
"""
    infer_node_datatype = GridLerp.infer_node_datatype
