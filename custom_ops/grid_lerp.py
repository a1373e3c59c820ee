"""GridLerp: a float table per channel on an even grid, linear between points and beyond the ends."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from qonnx.core.datatype import DataType

from custom_ops.op import FLOAT, Op


def grid_lerp(x, table, bound=4.0, residual=0):
    """x float32 [..., C], table float32 [C, G] on G points of [-bound, bound] -> float32 [..., C].

    t = (x + bound) * ((G-1) / (2*bound)); k = clip(floor(t), 0, G-2);
    y = table[k] + (t - k) * (table[k+1] - table[k]), + x if residual;
    every step in float32, in this order, no fused multiply-add.
    """
    points = table.shape[1]
    bound = np.float32(bound)
    t = (x + bound) * (np.float32(points - 1) / (np.float32(2) * bound))
    k = np.clip(np.floor(t), np.float32(0), np.float32(points - 2))
    f = t - k
    channel, k = np.arange(x.shape[-1]), k.astype(np.int64)
    left, right = table[channel, k], table[channel, k + 1]
    y = left + f * (right - left)
    return y + x if residual else y


class GridLerp(Op):
    """A learnable 1-D function as its table: what PSA becomes once trained, and what a B-spline is."""

    inputs = ("x", "table")
    types: ClassVar = {"x": (FLOAT,), "table": (FLOAT,)}
    attributes: ClassVar = {"bound": 4.0, "residual": 0}
    per_channel = True
    reference = staticmethod(grid_lerp)
    body = """
  minus_one = Constant <value_ints = [-1]> ()
  flat = Reshape (table, minus_one)
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  two = Constant <value_int = 2> ()
  dims = Shape (table)
  channels = Gather (dims, zero)
  points = Gather (dims, one)
  channel = Range (zero, channels, one)
  row = Mul (channel, points)
  segments = Sub (points, one)
  last = Sub (points, two)
  segments_f = Cast <to = 1> (segments)
  last_f = Cast <to = 1> (last)
  zero_f = Constant <value = float {0.0}> ()
  two_f = Constant <value = float {2.0}> ()
  bound = Constant <value_float: float = @bound> ()
  range = Mul (two_f, bound)
  per_unit = Div (segments_f, range)
  from_left = Add (x, bound)
  t = Mul (from_left, per_unit)
  floor_t = Floor (t)
  k = Clip (floor_t, zero_f, last_f)
  f = Sub (t, k)
  k_int = Cast <to = 7> (k)
  at_left = Add (k_int, row)
  at_right = Add (at_left, one)
  left = Gather (flat, at_left)
  right = Gather (flat, at_right)
  rise = Sub (right, left)
  part = Mul (f, rise)
  lerp = Add (left, part)
  residual = Constant <value_int: int = @residual> ()
  is_residual = Cast <to = 9> (residual)
  y = If (is_residual) <
    then_branch = with_x () => (sum) { sum = Add (lerp, x) },
    else_branch = alone () => (same) { same = Identity (lerp) }
  >
"""

    def infer_node_datatype(self, model) -> None:
        """FLOAT32."""
        model.set_tensor_datatype(self.onnx_node.output[0], DataType["FLOAT32"])
