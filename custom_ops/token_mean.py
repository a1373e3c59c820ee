"""TokenMean: the exact sum over tokens, one requantization; a mean where the token count is 2**shift."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.op import INT8, Op, OpError
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS


def token_mean(x, *, shift=0, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [N, T, C] -> int8 [N, C]: clip(round(sum_t x / 2**shift), lo, hi)."""
    return requant(x.sum(axis=1, dtype=np.int32), 1, 0, shift, rounding=rounding, lo=lo, hi=hi)


class TokenMean(Op):
    """Global average pooling over the tokens of an image, without the token axis (the hardware's keeps it)."""

    inputs = ("x",)
    types: ClassVar = {"x": (INT8,)}
    attributes: ClassVar = {"shift": 0, "rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(token_mean)
    body = """
  x_32 = Cast <to = 6> (x)
  tokens = Constant <value_ints = [1]> ()
  total = ReduceSum <keepdims = 0> (x_32, tokens)
  shift = Constant <value_int: int = @shift> ()
""" + requant_body("total", affine=False)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)
        if not 0 <= self.get_nodeattr("shift") <= 31:
            raise OpError(f"{self.label}: shift={self.get_nodeattr('shift')} must be in 0..31")
