"""ChannelLUT: an int8 table per channel, indexed by the input's code; full, or knots and interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from custom_ops.op import INT8, UINT8, Op, OpError
from custom_ops.rounding import ROUND_BODY, ROUNDINGS, shift_right

FULL = 256  # entries: one per code
KNOTS = {b: 2 ** (8 - b) + 1 for b in range(1, 8)}  # bits between knots -> knots, right end included

LOWEST: Mapping[int, int] = {INT8: -128, UINT8: 0}  # the lowest code of each input type


def channel_lut(x, table, rounding="HALF_EVEN", lowest=-128):
    """x int8|uint8 [..., C], table int8 [C, L] -> int8 [..., C]: y[..., c] = table[c, x[..., c] - lowest].

    A table [1, L] serves all channels. With L = 2**(8-b) + 1 knots, t[c, k] + round((t[c, k+1] - t[c, k]) * f / 2**b), where
    k = index >> b and f = index & (2**b - 1), for index = x - lowest. ValueError unless lowest is the lowest code of x's type.
    """
    if lowest != np.iinfo(x.dtype).min:
        raise ValueError(f"lowest={lowest} must be {np.iinfo(x.dtype).min}, the lowest code of {x.dtype}")
    index = x.astype(np.int64) - lowest
    channel = np.arange(x.shape[-1]) if len(table) != 1 else 0
    if table.shape[1] == FULL:
        return table[channel, index]
    bits = interpolated_bits(table.shape[1])
    k, f = index >> bits, index & ((1 << bits) - 1)
    left = table[channel, k].astype(np.int64)
    right = table[channel, k + 1].astype(np.int64)
    return (left + shift_right((right - left) * f, bits, rounding)).astype(np.int8)


def interpolated_bits(width: int) -> int:
    """Index bits that interpolate in a table of `width` entries, 0 if full; ValueError for no such table."""
    if width == FULL:
        return 0
    for bits, knots in KNOTS.items():
        if knots == width:
            return bits
    raise ValueError(f"a table has 256 entries or {', '.join(map(str, KNOTS.values()))} knots, not {width}")


class ChannelLUT(Op):
    """Any chain of per-channel functions between two quantized tensors, or the normalisation of pixels.

    A table has a row for each channel, or one for all; in hardware and in the fused layers always the former.

    The body interpolates in float32, exactly: |(right - left) * f| < 2**15 and the divisor is a power of two.
    """

    inputs = ("x", "table")
    types: ClassVar = {"x": (INT8, UINT8), "table": (INT8,)}
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lowest": -128}
    choices: ClassVar = {"rounding": ROUNDINGS}
    per_channel = True
    reference = staticmethod(channel_lut)
    body = (
        """
  minus_one = Constant <value_ints = [-1]> ()
  flat = Reshape (table, minus_one)
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  dims = Shape (table)
  channels = Gather (dims, zero)
  width = Gather (dims, one)
  channel = Range (zero, channels, one)
  row = Mul (channel, width)
  lowest = Constant <value_int: int = @lowest> ()
  entries = Constant <value_int = 256> ()
  is_full = Equal (width, entries)
  y = If (is_full) <
    then_branch = full () => (read) {
      base = Sub (row, lowest)
      base_32 = Cast <to = 6> (base)
      code_32 = Cast <to = 6> (x)
      position = Add (code_32, base_32)
      read = Gather (flat, position)
    },
    else_branch = interpolated () => (between) {
      intervals = Sub (width, one)
      spacing = Div (entries, intervals)
      code = Cast <to = 7> (x)
      index = Sub (code, lowest)
      k = Div (index, spacing)
      knot = Mul (k, spacing)
      f = Sub (index, knot)
      at_left = Add (k, row)
      at_right = Add (at_left, one)
      flat_f = Cast <to = 1> (flat)
      left = Gather (flat_f, at_left)
      right = Gather (flat_f, at_right)
      f_f = Cast <to = 1> (f)
      spacing_f = Cast <to = 1> (spacing)
      rise = Sub (right, left)
      part = Mul (rise, f_f)
      v = Div (part, spacing_f)
"""
        + ROUND_BODY.format(v="v", y="rounded", half="float {0.5}")
        + """
      sum = Add (left, rounded)
      between = Cast <to = 3> (sum)
    }
  >
"""
    )

    def verify_tensors(self, elements, constants) -> None:
        """Also: `lowest` must fit x's type, else the index leaves the table; the table must be one of ours."""
        super().verify_tensors(elements, constants)
        check_lowest(self, elements)
        table = constants.get(self.onnx_node.input[1])
        if table is not None:
            try:
                interpolated_bits(table.dims[-1] if len(table.dims) == 2 else 0)
            except ValueError as error:
                raise OpError(f"{self.label}: table is {list(table.dims)}; {error}") from None


def check_lowest(op: Op, elements: Mapping[str, int]) -> None:
    """Raises OpError if x is known to be neither int8 with lowest = -128 nor uint8 with lowest = 0."""
    element, lowest = elements.get(op.onnx_node.input[0], 0), op.get_nodeattr("lowest")
    if element and LOWEST.get(element) != lowest:
        name = TensorProto.DataType.Name(element)
        raise OpError(f"{op.label}: x is {name} and lowest={lowest}; INT8 needs -128, UINT8 needs 0")
