"""Fifo: `depth` beats between a node that writes and one that reads at another time."""

from __future__ import annotations

import math
from typing import ClassVar

from custom_ops.hw.cost import STREAM_LUT, resources
from custom_ops.hw.node import HwNode, Memory, Site, StreamOp
from custom_ops.op import OpError


def fifo(x, depth=2):
    """x [...] -> x."""
    return x


class Fifo(StreamOp):
    """Holds back a residual branch while the other one computes."""

    attributes: ClassVar = {"depth": 2}
    reference = staticmethod(fifo)
    body = "y = Identity (x)"

    def verify_node(self) -> None:
        super().verify_node()
        if self.get_nodeattr("depth") < 1:
            raise OpError(f"{self.label}: depth={self.get_nodeattr('depth')} must be at least 1 beat")

    def plan(self, site: Site) -> HwNode:
        shape = site.shape()
        pe = site.fold("PE", shape[-1], "channels")
        folded, bits = site.folded(shape, pe), site.stream_bits()
        memory = Memory("beats", site.attribute("depth"), bits * pe, rom=False)
        return site.build(
            [folded],
            [folded],
            cycles=math.prod(folded[:-1]),
            in_bits=bits,
            out_bits=bits,
            memories=[memory],
            resources=resources([memory], lut=2 * STREAM_LUT),
        )
