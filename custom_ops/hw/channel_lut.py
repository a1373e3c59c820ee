"""ChannelLUT as a hardware node: one full table per channel, read by PE lanes at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.channel_lut import channel_lut, check_lowest
from custom_ops.hw.cost import STREAM_LUT, resources
from custom_ops.hw.node import HwNode, HwOp, Memory, Site
from custom_ops.hw.timing import Pipeline
from custom_ops.op import INT8, UINT8

LATENCY = 4  # cycles: the memory's two, the output buffer's two


def full_table(x, table, lowest=-128):
    """x int8|uint8 [..., C], table int8 [C, 256] -> int8 [..., C]: table[c, x[..., c] - lowest]."""
    return channel_lut(x, table, lowest=lowest)


class ChannelLUT(HwOp):
    """The body is psaflow.ChannelLUT, so that its kernel serves both."""

    inputs = ("x", "table")
    types: ClassVar = {"x": (INT8, UINT8), "table": (INT8,)}
    attributes: ClassVar = {"lowest": -128}
    reference = staticmethod(full_table)
    body = "y = psaflow.ChannelLUT <lowest: int = @lowest> (x, table)"

    def verify_tensors(self, elements, constants) -> None:
        super().verify_tensors(elements, constants)
        check_lowest(self, elements)

    def plan(self, site: Site) -> HwNode:
        """Lane i holds the tables of channels i, PE + i, ...: PE memories, each read once a cycle."""
        shape = site.shape()
        pe = site.fold("PE", shape[-1], "channels")
        site.constant(1, (shape[-1], 256), np.int8)
        folded = site.folded(shape, pe)
        memories = [Memory(f"table_{lane:02d}", 256 * shape[-1] // pe, 8) for lane in range(pe)]
        return site.build(
            [folded],
            [folded],
            cycles=int(np.prod(folded[:-1])),
            memories=memories,
            resources=resources(memories, lut=STREAM_LUT * pe),
            timing=Pipeline(LATENCY),
        )
