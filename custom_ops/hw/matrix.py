"""What the matrix units share: how they are folded, the widths of their streams, the size of their arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from custom_ops.hw.cost import CONTROL_LUT, FABRIC_LUT, REQUANT_LUT, STREAM_LUT, TREE_LUT
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
    def dsp(self) -> int:
        """Multipliers that are no LUTs."""
        return self.simd * (self.pe // 2 + self.pe % 2) if self.packed else self.pe * self.simd - self.fabric

    def lut(self, requantized: bool) -> int:
        """LUT4 of products, sums, requantization and streams."""
        arithmetic = self.pe * self.simd * TREE_LUT + self.fabric * FABRIC_LUT + self.results * REQUANT_LUT * requantized
        return arithmetic + (self.in_lanes + self.out_lanes) * STREAM_LUT + CONTROL_LUT


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
