"""Fifo: `depth` beats between a node that writes and one that reads at another time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custom_ops.hw.cost import Part, output
from custom_ops.hw.node import HwNode, Memory, Site, StreamOp
from custom_ops.hw.timing import BUFFER, OUT, Times, in_order, places
from custom_ops.op import OpError

SMALL = 64  # beats that distributed memory holds; above that block memory, with an output buffer behind it
READ = 2  # cycles of a block memory's read


def fifo(x, depth=2):
    """x [...] -> x."""
    return x


def fifo_parts(depth: int, width: int) -> tuple[list[Part], list[Memory]]:
    """What `depth` beats of `width` bits, TLAST among them, are made of: logic, and the block memory of a large one."""
    if depth <= SMALL:
        return [output(1, 1, width, depth)], []  # a small one is its output alone
    counters = [Part("counter", 2, (depth,)), Part("adder", 1, (depth.bit_length(),))]
    return [output(1, 1, width, BUFFER), *counters], [Memory("beats", depth, width, rom=False)]


@dataclass(frozen=True)
class FifoTiming:
    """Beat i is written when taken and read, in order, from the cycle after; it holds its place until it is read.

    Up to SMALL beats: left[i] = taken[i] + 2, and read[i] is the cycle in which it goes to the output register, from left[i - 1]
    on. Above: left[i] = read[i] + 4, and read[i] also waits for one of the output buffer's places.
    """

    depth: int

    @property
    def reach(self) -> int:
        return self.depth + BUFFER

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        if self.depth <= SMALL:
            return [in_order(taken[0] + OUT)]
        return [self._read(taken[0], None if left is None else left[0]) + READ + OUT]

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        if self.depth <= SMALL:
            read = np.maximum(in_order(taken[0] + 1), places(left[0], 1) - 1)
        else:
            read = self._read(taken[0], left[0])
        return [places(read, self.depth)]

    @staticmethod
    def _read(taken: Times, left: Times | None) -> Times:
        earliest = taken + 1
        return in_order(earliest if left is None else np.maximum(earliest, places(left, BUFFER)))


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
        depth = site.attribute("depth")
        parts, priced = fifo_parts(depth, bits * pe + 1)  # TLAST lies beside the data
        return site.build(
            [folded],
            [folded],
            cycles=math.prod(folded[:-1]),
            in_bits=bits,
            out_bits=bits,
            memories=[Memory("beats", depth, bits * pe, rom=False)],
            parts=parts,
            priced=priced,
            timing=FifoTiming(depth),
        )
