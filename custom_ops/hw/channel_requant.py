"""ChannelRequant: multiply, add, shift per channel, int8 to int8: an affine without a table."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.datatypes import accumulator_bits, signed_bits
from custom_ops.hw.cost import Part, output, requantizers
from custom_ops.hw.node import HwNode, HwOp, Memory, Site
from custom_ops.hw.timing import Pipeline
from custom_ops.op import INT8, INT32
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS

LATENCY = 9  # cycles


def channel_requant(x, mult, bias, shift, *, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [..., C]; mult, bias, shift int32 [C] -> int8 [..., C]:

    clip(round((x * mult + bias) / 2**shift), lo, hi)
    """
    return requant(x, mult, bias, shift, rounding=rounding, lo=lo, hi=hi)


class ChannelRequant(HwOp):
    """Requant along the channels with a multiplier."""

    inputs = ("x", "mult", "bias", "shift")
    types: ClassVar = {"x": (INT8,)} | dict.fromkeys(inputs[1:], (INT32,))
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(channel_requant)
    body = requant_body()

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)

    def plan(self, site: Site) -> HwNode:
        """One multiply-add-shift per lane; a word of parameters per beat of a token."""
        shape = site.shape()
        channels = shape[-1]
        pe = site.fold("PE", channels, "channels")
        mult = site.constant(1, (channels,), np.int32).astype(np.int64)
        bias = site.constant(2, (channels,), np.int32).astype(np.int64)
        shift = site.shift(3, channels)
        multiplies = bool(np.any(mult != 1))
        mult_bits = signed_bits(int(mult.min()), int(mult.max())) if multiplies else 0
        memories = [Memory("param", channels // pe, pe * (mult_bits + site.parameter_bits(bias, shift)))]
        folded = site.folded(shape, pe)
        bits = max(accumulator_bits(mult[:, None], bias), mult_bits + 8)
        return site.build(
            [folded],
            [folded],
            cycles=int(np.prod(folded[:-1])),
            memories=memories,
            accumulator_bits=accumulator_bits(mult[:, None], bias),
            multipliers=[(pe, mult_bits, 8)] if multiplies else [],
            parts=[
                Part("counter", 1, (channels // pe,)),
                Part("adder", pe, (bits,)),
                requantizers(pe, bits, int(shift.min()), int(shift.max())),
                output(pe, int(np.prod(folded[:-1]))),
            ],
            timing=Pipeline(LATENCY),
        )
