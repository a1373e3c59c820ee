"""Fork: one stream to two readers, neither of which may be late without holding the other."""

from __future__ import annotations

import math

from custom_ops.hw.cost import Part
from custom_ops.hw.node import HwNode, Site, StreamOp
from custom_ops.hw.timing import Pipeline

PLACES = 2  # beats in each branch's skid buffer


def fork(x):
    """x [...] -> (x, x)."""
    return x, x


class Fork(StreamOp):
    """Where a residual branch begins."""

    outputs = ("a", "b")
    reference = staticmethod(fork)
    body = """
  a = Identity (x)
  b = Identity (x)
"""

    def plan(self, site: Site) -> HwNode:
        shape = site.shape()
        pe = site.fold("PE", shape[-1], "channels")
        folded, bits = site.folded(shape, pe), site.stream_bits()
        return site.build(
            [folded],
            [folded, folded],
            cycles=math.prod(folded[:-1]),
            in_bits=bits,
            out_bits=bits,
            parts=[Part("skid", 2, (pe * bits + 1,))],
            timing=Pipeline(latency=1, count=PLACES, outputs=2),
        )
