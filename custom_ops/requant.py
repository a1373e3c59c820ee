"""Requant: clip(round((x * mult + bias) / 2**shift), lo, hi), the one way from an accumulator to INT8."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.op import INT8, INT32, Op, OpError
from custom_ops.rounding import ROUND_BODY, ROUNDINGS, shift_right

INPUTS = ("x", "mult", "bias", "shift")


def requant(x, mult, bias, shift, *, axis=-1, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8|int32 [...]; mult, bias, shift (0..31) int32, each [], [1] or [x.shape[axis]] -> int8 [...]."""

    def along_axis(parameter):
        trailing = (-1 - axis) % x.ndim
        return np.asarray(parameter, np.int64).reshape(-1, *[1] * trailing)

    scaled = x.astype(np.int64) * along_axis(mult) + along_axis(bias)
    return np.clip(shift_right(scaled, along_axis(shift), rounding), lo, hi).astype(np.int8)


def requant_body(x: str = "x", axis: int = -1, affine: bool = True) -> str:
    """ONNX text: y = Requant of tensor `x` by the tensors mult and bias (if `affine`) and shift along `axis`.

    It reads the attributes rounding, lo and hi, but not axis: shape inference must know the ranks, so each
    axis has its own text. The hardware ops that requantize contain it.
    """
    parameters = ("mult", "bias", "shift") if affine else ("shift",)
    spread = [f"after = Constant <value_ints = {list(range(axis + 1, 0))}> ()"] if axis < -1 else []
    for name in parameters:
        spread.append(f"{name}_f = Cast <to = 11> ({name})")
        call = f"Unsqueeze ({name}_f, after)" if axis < -1 else f"Identity ({name}_f)"
        spread.append(f"{name}_b = {call}")
    scaled = "product = Mul (x_f, mult_b)\n  scaled = Add (product, bias_b)"
    scale = scaled if affine else "scaled = Identity (x_f)"
    lines = "\n  ".join(spread)
    return f"""
  {lines}
  base = Constant <value = double {{2.0}}> ()
  minus_shift = Neg (shift_b)
  step = Pow (base, minus_shift)
  x_f = Cast <to = 11> ({x})
  {scale}
  v = Mul (scaled, step)
  {ROUND_BODY.format(v="v", y="rounded", half="double {0.5}")}
  lo = Constant <value_int: int = @lo> ()
  hi = Constant <value_int: int = @hi> ()
  lo_f = Cast <to = 11> (lo)
  hi_f = Cast <to = 11> (hi)
  clipped = Clip (rounded, lo_f, hi_f)
  y = Cast <to = 3> (clipped)
"""


class Requant(Op):
    """Per-channel multiply, add, shift, round, clip. ReLU is lo = 0; mult = 1 where a shift is enough.

    The bodies compute in float64, exactly where it matters: a result within [-128, 127] has a numerator below
    2**39, and float64 holds that and its quotient by 2**31 in full; anything larger is clipped.
    """

    inputs = INPUTS
    types: ClassVar = {"x": (INT8, INT32), "mult": (INT32,), "bias": (INT32,), "shift": (INT32,)}
    attributes: ClassVar = {"axis": -1, "rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    per_channel = True
    reference = staticmethod(requant)
    body = requant_body()
    overloads: ClassVar = {f"axis_{-axis}": (INPUTS, requant_body(axis=axis)) for axis in (-2, -3, -4)}

    @classmethod
    def overload_of(cls, node) -> str:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
        return "" if axis == -1 else f"axis_{-axis}"

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)
        if not -4 <= self.get_nodeattr("axis") <= -1:
            raise OpError(f"{self.label}: axis={self.get_nodeattr('axis')} must be -1, -2, -3 or -4 (from the end)")


def check_range(op: Op) -> None:
    """Raises OpError unless -128 <= lo <= hi <= 127."""
    lo, hi = op.get_nodeattr("lo"), op.get_nodeattr("hi")
    if not -128 <= lo <= hi <= 127:
        raise OpError(f"{op.label}: lo={lo}, hi={hi} must satisfy -128 <= lo <= hi <= 127")
