"""What the fused linear layers share: the tables and the residual sum around a product, as numpy and as ONNX text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from onnx import NodeProto, TensorProto

from custom_ops.channel_lut import FULL, channel_lut
from custom_ops.op import INT8, INT32, Attribute, Op, OpError
from custom_ops.requant import check_range, requant
from custom_ops.rounding import ROUNDINGS

MOST_LEFT, MOST_RIGHT = 22, 31  # shifts of a sum's operands, and of the sum

PARAMETERS = ("weight", "mult", "bias", "shift")
OPTIONAL = ("table_in", "table_out", "skip", "skip_table")
INPUTS = ("x", *PARAMETERS, *OPTIONAL)
TYPES = dict.fromkeys(("x", "weight", *OPTIONAL), (INT8,)) | dict.fromkeys(("mult", "bias", "shift"), (INT32,))
ATTRIBUTES: Mapping[str, Attribute] = {"rounding": "HALF_EVEN", "lo": -128, "hi": 127, "left": 0, "skip_left": 0, "right": 0}
REQUANT = "psaflow.Requant <axis = -1, rounding: string = @rounding, lo: int = @lo, hi: int = @hi>"


def look_up(x, table):
    """x int8 [..., C], table int8 [C, 256] or None -> int8 [..., C]: x itself without a table."""
    return x if table is None else channel_lut(x, table)


def finish(y, table_out, skip, skip_table, *, left, skip_left, right, rounding):
    """y int8 [..., C] -> int8 [..., C], u = table_out of y and v = skip_table of skip, each without its table itself:

    clip(round((u * 2**left + v * 2**skip_left) / 2**right), -128, 127); u alone where skip is None.
    """
    y = look_up(y, table_out)
    if skip is None:
        return y
    total = y.astype(np.int64) * 2**left + look_up(skip, skip_table).astype(np.int64) * 2**skip_left
    return requant(total, 1, 0, right, rounding=rounding)


def lookup_body(x: str, table: str, y: str, *, present: bool) -> str:
    """ONNX text: {y} = {x} through {table}, or {x} itself."""
    return f"  {y} = psaflow.ChannelLUT ({x}, {table})\n" if present else f"  {y} = Identity ({x})\n"


def finish_body(given: tuple[str, ...]) -> str:
    """ONNX text: y = `finish` of the tensor `requantized`, with those of the optional inputs that are `given`."""
    table = lookup_body("requantized", "table_out", "own" if "skip" in given else "y", present="table_out" in given)
    if "skip" not in given:
        return table
    return (
        table
        + lookup_body("skip", "skip_table", "other", present="skip_table" in given)
        + """  two = Constant <value = int32 {2}> ()
  left = Constant <value_int: int = @left> ()
  skip_left = Constant <value_int: int = @skip_left> ()
  right = Constant <value_int: int = @right> ()
  right_32 = Cast <to = 6> (right)
  own_scale = Pow (two, left)
  other_scale = Pow (two, skip_left)
  own_32 = Cast <to = 6> (own)
  other_32 = Cast <to = 6> (other)
  own_scaled = Mul (own_32, own_scale)
  other_scaled = Mul (other_32, other_scale)
  total = Add (own_scaled, other_scaled)
  sum_mult = Constant <value = int32 {1}> ()
  sum_bias = Constant <value = int32 {0}> ()
  y = psaflow.Requant <axis = -1, rounding: string = @rounding, lo = -128, hi = 127> (total, sum_mult, sum_bias, right_32)
"""
    )


def combinations(optional: tuple[str, ...] = OPTIONAL) -> list[tuple[str, ...]]:
    """Which optional inputs a node may have at once: a skip_table only with a skip."""
    found: list[tuple[str, ...]] = [()]
    for role in optional:
        found += [(*given, role) for given in found if role != "skip_table" or "skip" in given]
    return found


class Layer(Op):
    """Base of the fused linear layers: optional inputs choose the body, by an overload that lists them."""

    types: ClassVar = TYPES
    attributes: ClassVar = ATTRIBUTES
    choices: ClassVar = {"rounding": ROUNDINGS}

    @classmethod
    def overload_of(cls, node: NodeProto) -> str:
        return "_with_".join(role for role, name in zip(cls.inputs, node.input, strict=False) if role in OPTIONAL and name)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)
        given = dict(zip(self.inputs, self.onnx_node.input, strict=False))
        if given.get("skip_table") and not given.get("skip"):
            raise OpError(f"{self.label}: a skip_table needs the input skip")
        for name, most in (("left", MOST_LEFT), ("skip_left", MOST_LEFT), ("right", MOST_RIGHT)):
            if name in self.attributes and not 0 <= self.get_nodeattr(name) <= most:
                raise OpError(f"{self.label}: {name}={self.get_nodeattr(name)} must be in 0..{most}")

    def verify_tensors(self, elements: Mapping[str, int], constants: Mapping[str, TensorProto]) -> None:
        """Also: a table must be full."""
        super().verify_tensors(elements, constants)
        for role, name in zip(self.inputs, self.onnx_node.input, strict=False):
            dims = list(constants[name].dims) if "table" in role and name in constants else None
            if dims is not None and (len(dims) != 2 or dims[1] != FULL):
                raise OpError(f"{self.label}: {role} is {dims}, must be [channels, {FULL}]")
