"""WidthConverter: the same elements in wider or narrower beats."""

from __future__ import annotations

import math
from typing import ClassVar

from custom_ops.hw.cost import STREAM_LUT, resources
from custom_ops.hw.node import FoldingError, HwNode, Site, StreamOp, divisors


def width_converter(x, in_lanes=1, out_lanes=1):
    """x [...] -> x."""
    return x


class WidthConverter(StreamOp):
    """Between two nodes of different folding; one lane count must divide the other."""

    attributes: ClassVar = {"in_lanes": 1, "out_lanes": 1}
    folding: ClassVar = {}
    reference = staticmethod(width_converter)
    body = "y = Identity (x)"

    def plan(self, site: Site) -> HwNode:
        shape = site.shape()
        bits = site.stream_bits()
        lanes = [site.fold(name, shape[-1], "channels") for name in ("in_lanes", "out_lanes")]
        if max(lanes) % min(lanes):
            fits = [d for d in divisors(shape[-1]) if max(d, lanes[0]) % min(d, lanes[0]) == 0]
            raise FoldingError(
                f"{site.label}: in_lanes={lanes[0]} and out_lanes={lanes[1]} must divide one another;"
                f" for in_lanes={lanes[0]} try out_lanes={', '.join(map(str, fits))}"
            )
        return site.build(
            [site.folded(shape, lanes[0])],
            [site.folded(shape, lanes[1])],
            cycles=math.prod(shape) // min(lanes),
            in_bits=bits,
            out_bits=bits,
            resources=resources([], lut=2 * STREAM_LUT * max(lanes) * bits // 8),
        )
