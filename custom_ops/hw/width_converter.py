"""WidthConverter: the same elements in wider or narrower beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custom_ops.hw.cost import Part
from custom_ops.hw.node import FoldingError, HwNode, Site, StreamOp, divisors
from custom_ops.hw.timing import Times, in_order, last_of, places

PLACES = 2  # wide words in its skid buffer


def width_converter(x, in_lanes=1, out_lanes=1):
    """x [...] -> x."""
    return x



@dataclass(frozen=True)
class WidthTiming:
    """Of words of `ratio` narrow beats.

    Collecting, a word leaves a cycle after its last beat; serialising, its beats leave from the cycle after it on, one a cycle.
    """

    ratio: int
    collects: bool
    reach: ClassVar = PLACES

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        if self.collects:
            return [last_of(taken[0], self.ratio) + 1]
        return [in_order(np.repeat(taken[0] + 1, self.ratio))]

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        if self.collects:
            return [np.repeat(places(left[0], PLACES), self.ratio)]
        return [places(last_of(left[0], self.ratio), PLACES)]


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
        ratio = max(lanes) // min(lanes)
        parts = [Part("skid", 1, (max(lanes) * bits + 1,)), Part("counter", 1, (ratio,))]
        if lanes[0] > lanes[1]:
            parts.append(Part("selector", 1, (ratio, lanes[1] * bits)))
        return site.build(
            [site.folded(shape, lanes[0])],
            [site.folded(shape, lanes[1])],
            cycles=math.prod(shape) // min(lanes),
            in_bits=bits,
            out_bits=bits,
            parts=parts,
            timing=WidthTiming(max(lanes) // min(lanes), collects=lanes[1] > lanes[0]),
        )
