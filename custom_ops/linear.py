"""Linear: a fully connected layer along channels, with what stands around it: tables, requantization, residual sum."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.layer import INPUTS, REQUANT, Layer, combinations, finish, finish_body, look_up, lookup_body
from custom_ops.requant import requant


def linear(x, weight, mult, bias, shift, table_in=None, table_out=None, skip=None, skip_table=None, *, rounding="HALF_EVEN",
           lo=-128, hi=127, left=0, skip_left=0, right=0):  # fmt: skip
    """x int8 [..., K], weight int8 [K, M]; mult, bias, shift int32, each [], [1] or [M] -> int8 [..., M]:

    finish(requant(table_in(x) @ weight)), the sum exact. Optional: table_in int8 [K, 256], table_out and skip_table
    int8 [M, 256], skip int8 [..., M].
    """
    accumulator = np.matmul(look_up(x, table_in).astype(np.int32), weight.astype(np.int32))
    y = requant(accumulator, mult, bias, shift, rounding=rounding, lo=lo, hi=hi)
    return finish(y, table_out, skip, skip_table, left=left, skip_left=skip_left, right=right, rounding=rounding)


def linear_body(given: tuple[str, ...]) -> str:
    """ONNX text of the op with those of its optional inputs that are `given`."""
    return f"""
{lookup_body("x", "table_in", "codes", present="table_in" in given)}
  accumulator = MatMulInteger (codes, weight)
  requantized = {REQUANT} (accumulator, mult, bias, shift)
{finish_body(given)}"""


class Linear(Layer):
    """MatMulInteger, Requant, the ChannelLUTs at either end and the residual sum, as one node."""

    inputs = INPUTS
    required_inputs = 5
    reference = staticmethod(linear)
    body = linear_body(())
    overloads: ClassVar = {"_with_".join(given): (INPUTS, linear_body(given)) for given in combinations()[1:]}
