"""TokenLinear: a fully connected layer along tokens, with what stands around it: tables, requantization, residual sum."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.layer import INPUTS, Layer, combinations, finish, finish_body, look_up, lookup_body
from custom_ops.requant import requant, requant_body


def token_linear(x, weight, mult, bias, shift, table_in=None, table_out=None, skip=None, skip_table=None, *, rounding="HALF_EVEN",
                 lo=-128, hi=127, left=0, skip_left=0, right=0):  # fmt: skip
    """x int8 [..., T, C], weight int8 [U, T]; mult, bias, shift int32, each [], [1] or [U] -> int8 [..., U, C]:

    finish(requant(weight @ table_in(x))), the sum exact and requantized per token. Optional: table_in, table_out and
    skip_table int8 [C, 256], skip int8 [..., U, C].
    """
    accumulator = np.matmul(weight.astype(np.int32), look_up(x, table_in).astype(np.int32))
    y = requant(accumulator, mult, bias, shift, axis=-2, rounding=rounding, lo=lo, hi=hi)
    return finish(y, table_out, skip, skip_table, left=left, skip_left=skip_left, right=right, rounding=rounding)


def token_linear_body(given: tuple[str, ...]) -> str:
    """ONNX text of the op with those of its optional inputs that are `given`."""
    along_tokens = requant_body("accumulator", axis=-2).replace("y = Cast <to = 3> (clipped)", "requantized = Cast <to = 3> (clipped)")
    return f"""
{lookup_body("x", "table_in", "codes", present="table_in" in given)}
  accumulator = MatMulInteger (weight, codes)
{along_tokens}
{finish_body(given)}"""


class TokenLinear(Layer):
    """Multiplies from the left, so tokens stay outer and channels inner: no transpose."""

    inputs = INPUTS
    required_inputs = 5
    reference = staticmethod(token_linear)
    body = token_linear_body(())
    overloads: ClassVar = {"_with_".join(given): (INPUTS, token_linear_body(given)) for given in combinations()[1:]}
