"""ResidualAdd: two int8 streams shifted left to the finer scale, added exactly, requantized once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.datatypes import signed_bits
from custom_ops.hw.cost import Part, output, requantizers
from custom_ops.hw.node import FoldingError, HwNode, HwOp, Site
from custom_ops.hw.timing import Pipeline
from custom_ops.op import INT8, OpError
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS

MOST_LEFT = 22  # 128 << 22 twice still fits int32
LATENCY = 6  # cycles


def residual_add(a, b, *, a_shift=0, b_shift=0, shift=0, rounding="HALF_EVEN", lo=-128, hi=127):
    """a, b int8 [N, T, C] -> int8 [N, T, C]:

    clip(round(((a << a_shift) + (b << b_shift)) / 2**shift), lo, hi)
    """
    total = (a.astype(np.int32) << a_shift) + (b.astype(np.int32) << b_shift)
    return requant(total, 1, 0, shift, rounding=rounding, lo=lo, hi=hi)


class ResidualAdd(HwOp):
    """The left shifts are products with 2**a_shift and 2**b_shift before one requantization."""

    inputs = ("a", "b")
    types: ClassVar = {"a": (INT8,), "b": (INT8,)}
    attributes: ClassVar = {
        "a_shift": 0,
        "b_shift": 0,
        "shift": 0,
        "rounding": "HALF_EVEN",
        "lo": -128,
        "hi": 127,
    }
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(residual_add)
    body = """
  two = Constant <value = int32 {2}> ()
  a_shift = Constant <value_int: int = @a_shift> ()
  b_shift = Constant <value_int: int = @b_shift> ()
  shift = Constant <value_int: int = @shift> ()
  a_scale = Pow (two, a_shift)
  b_scale = Pow (two, b_shift)
  a_32 = Cast <to = 6> (a)
  b_32 = Cast <to = 6> (b)
  a_scaled = Mul (a_32, a_scale)
  b_scaled = Mul (b_32, b_scale)
  total = Add (a_scaled, b_scaled)
""" + requant_body("total", affine=False)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)
        for name, most in (("a_shift", MOST_LEFT), ("b_shift", MOST_LEFT), ("shift", 31)):
            if not 0 <= self.get_nodeattr(name) <= most:
                raise OpError(f"{self.label}: {name}={self.get_nodeattr(name)} must be in 0..{most}")

    def plan(self, site: Site) -> HwNode:
        """PE adders and requantizers, no memory."""
        shape = site.shape(0)
        if site.shape(1) != shape:
            raise FoldingError(f"{site.label}: a is {list(shape)}, b {list(site.shape(1))}; must be the same")
        pe = site.fold("PE", shape[-1], "channels")
        folded = site.folded(shape, pe)
        reach = 128 * (2 ** site.attribute("a_shift") + 2 ** site.attribute("b_shift"))
        bits = 9 + max(site.attribute("a_shift"), site.attribute("b_shift"))
        shift = site.attribute("shift")
        return site.build(
            [folded, folded],
            [folded],
            cycles=int(np.prod(folded[:-1])),
            accumulator_bits=signed_bits(-reach, reach - 2),
            parts=[Part("adder", pe, (bits,)), requantizers(pe, bits, shift, shift), output(pe, int(np.prod(folded[:-1])))],
            timing=Pipeline(LATENCY),
        )
