"""ChannelRequant: multiply, add, shift per channel, int8 to int8: an affine without a table."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.datatypes import signed_bits
from custom_ops.hw.cost import AFFINE_LUT, REQUANT_LUT, STREAM_LUT, resources
from custom_ops.hw.node import HwNode, HwOp, Memory, Site
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS

DSP_BITS = 18  # a MULT18X18D takes the code times a multiplier of up to 18 bits; a wider one takes two


def channel_requant(x, mult, bias, shift, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [..., C]; mult, bias, shift int32 [C] -> int8 [..., C]:

    clip(round((x * mult + bias) / 2**shift), lo, hi)
    """
    return requant(x, mult, bias, shift, -1, rounding, lo, hi)


class ChannelRequant(HwOp):
    """Requant along the channels with a multiplier."""

    inputs = ("x", "mult", "bias", "shift")
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(channel_requant)
    body = requant_body()

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)

    def plan(self, site: Site) -> HwNode:
        """One multiply-add-shift per lane; one memory per parameter, a word per beat of a token."""
        shape = site.shape()
        channels = shape[-1]
        pe = site.fold("PE", channels, "channels")
        mult = site.constant(1, (channels,), np.int32).astype(np.int64)
        bias = site.constant(2, (channels,), np.int32).astype(np.int64)
        site.shift(3, channels)
        most = np.maximum(mult * -128, mult * 127) + np.maximum(bias, 0)
        least = np.minimum(mult * -128, mult * 127) + np.minimum(bias, 0)
        wide = [signed_bits(int(values.min()), int(values.max())) for values in (mult, bias)]
        memories = [
            Memory("mult", channels // pe, pe * wide[0]),
            Memory("bias", channels // pe, pe * wide[1]),
            Memory("shift", channels // pe, pe * 5),
        ]
        dsp = pe * (1 if wide[0] <= DSP_BITS else 2)
        folded = site.folded(shape, pe)
        return site.build(
            [folded],
            [folded],
            cycles=int(np.prod(folded[:-1])),
            memories=memories,
            accumulator_bits=signed_bits(int(least.min()), int(most.max())),
            resources=resources(memories, dsp=dsp, lut=pe * (AFFINE_LUT + REQUANT_LUT + STREAM_LUT)),
        )
