"""What the matrix units share: how they are folded, the widths of their streams, the size of their arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from custom_ops.hw.cost import Part, output, requantizers
from custom_ops.hw.matrix_timing import Core
from custom_ops.hw.node import FoldingError, Site, divisors

# PE results and SIMD products of each at once; elements a beat in and out; products made of LUTs; two products in one DSP48E2
FOLDING: Mapping[str, int] = {"PE": 1, "SIMD": 1, "in_lanes": 1, "out_lanes": 1, "fabric": 0, "packed": 0}


@dataclass(frozen=True)
class MatrixFolding:
    """The attributes of FOLDING, checked."""

    pe: int
    simd: int
    in_lanes: int
    out_lanes: int
    fabric: int
    packed: int

    @property
    def results(self) -> int:
        """Results that are requantized at once."""
        return min(self.pe, self.out_lanes)

    @property
    def multipliers(self) -> list[tuple[int, int, int]]:
        """(how many, bits, bits): a packed one holds two results of one shared operand."""
        if not self.packed:
            return [(self.pe * self.simd - self.fabric, 8, 8)]
        return [(self.pe // 2 * self.simd, 27, 8), (self.pe % 2 * self.simd, 8, 8)]

    def parts(self, core: Core, bits: int, shift: np.ndarray | None, elements: int) -> list[Part]:
        """What arithmetic and end of a matrix unit are made of: accumulators of `bits` bits, an image of `elements` out."""
        lanes, last = self.results, 8 if shift is not None else 32
        pairs, groups = self.pe // 2 * self.packed, math.ceil(self.simd / 4)
        found = [Part("tree", self.pe - 2 * pairs, (self.simd,)), Part("tree", 2 * pairs, (groups,)), Part("unpack", pairs * groups)]
        found += [Part("product", self.fabric), Part("accumulator", self.pe, (bits,)), Part("control", 1)]
        if core.steps > 1:
            found += [Part("choice", self.pe - lanes, (bits,)), Part("adder", lanes, (bits,)), Part("counter", 1, (core.steps,))]
        if core.parts > 1:
            found.append(Part("counter", 2, (core.parts,)))
        if shift is not None:
            found.append(requantizers(lanes, bits, int(shift.min()), int(shift.max())))
        return [*found, output(self.out_lanes, elements // self.out_lanes, last, core.depth - 1)]


def matrix_folding(
    site: Site, results: tuple[int, str], products: tuple[int, str], gathered: str, channels: tuple[int, int]
) -> MatrixFolding:
    """The folding of `site`, or FoldingError.

    PE divides `results` (count, what they are), SIMD `products`; in_lanes and out_lanes divide `channels` (in, out), and divide or
    are divided by the attribute `gathered` and PE.
    """
    pe, simd = site.fold("PE", *results), site.fold("SIMD", *products)
    lanes = []
    for name, count, partner in (("in_lanes", channels[0], gathered), ("out_lanes", channels[1], "PE")):
        value, units = site.fold(name, count, "channels"), {"PE": pe, "SIMD": simd}[partner]
        if max(value, units) % min(value, units):
            fits = ", ".join(str(d) for d in divisors(count) if max(d, units) % min(d, units) == 0)
            raise FoldingError(f"{site.label}: {name}={value} and {partner}={units}: one must divide the other; try {name}={fits}")
        lanes.append(value)
    fabric, packed = site.attribute("fabric"), site.attribute("packed")
    if not 0 <= fabric <= pe * simd:
        raise FoldingError(f"{site.label}: fabric={fabric} of {pe * simd} products; try 0 to {pe * simd}")
    if packed not in (0, 1) or (packed and fabric):
        raise FoldingError(f"{site.label}: packed={packed} with fabric={fabric}; packed is 0 or 1, and 0 where products are made of LUTs")
    return MatrixFolding(pe, simd, lanes[0], lanes[1], fabric, packed)


def image_cycles(products: int, elements_in: int, elements_out: int, folding: MatrixFolding) -> int:
    """The slowest of the products, the input and the output; counts per image (or per token)."""
    return max(
        products // (folding.pe * folding.simd),
        math.ceil(elements_in / folding.in_lanes),
        math.ceil(elements_out / folding.out_lanes),
    )
