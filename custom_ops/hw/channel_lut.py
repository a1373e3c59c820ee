"""ChannelLUT as a hardware node: a table per channel, full or of knots, read by PE lanes at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.channel_lut import FULL, KNOTS, channel_lut, check_lowest, interpolated_bits
from custom_ops.hw.cost import Part, output
from custom_ops.hw.node import FoldingError, HwNode, HwOp, Memory, Site
from custom_ops.hw.timing import Pipeline
from custom_ops.op import INT8, UINT8
from custom_ops.rounding import ROUNDINGS

LATENCY = 4  # cycles: the memory's two, the output buffer's two
LINE_LATENCY = 3  # more of them for the line between two knots


class ChannelLUT(HwOp):
    """The body is psaflow.ChannelLUT, so that its kernel serves both; here every channel has a row of its own."""

    inputs = ("x", "table")
    types: ClassVar = {"x": (INT8, UINT8), "table": (INT8,)}
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lowest": -128}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(channel_lut)
    body = "y = psaflow.ChannelLUT <rounding: string = @rounding, lowest: int = @lowest> (x, table)"

    def verify_tensors(self, elements, constants) -> None:
        super().verify_tensors(elements, constants)
        check_lowest(self, elements)

    def plan(self, site: Site) -> HwNode:
        """Lane i holds the tables of channels i, PE + i, ...: PE memories, each read once a cycle, or twice for two knots.

        The last knot of each channel is read beside the others, from a memory of its own.
        """
        shape = site.shape()
        channels = shape[-1]
        pe = site.fold("PE", channels, "channels")
        bits = interpolated_bits(_width(site, channels))
        folded, folds = site.folded(shape, pe), channels // pe
        memories = [Memory(f"table_{lane:02d}", folds * (FULL >> bits), 8) for lane in range(pe)]
        parts = [Part("counter", 1, (folds,)), output(pe, int(np.prod(folded[:-1])))]
        if bits:
            memories += [Memory(f"last_{lane:02d}", folds, 8) for lane in range(pe)]
            parts.append(Part("line", pe, (bits,)))
        return site.build(
            [folded],
            [folded],
            cycles=int(np.prod(folded[:-1])),
            memories=memories,
            parts=parts,
            timing=Pipeline(LATENCY + (LINE_LATENCY if bits else 0)),
        )


def _width(site: Site, channels: int) -> int:
    """Entries of a table, after a check that each channel has one."""
    given = site.initializers.get(site.op.onnx_node.input[1])
    width = given.shape[1] if given is not None and given.ndim == 2 else FULL
    if width != FULL and width not in KNOTS.values():
        widths = ", ".join(map(str, KNOTS.values()))
        raise FoldingError(f"{site.label}: its table has {width} entries; 256, or {widths} knots")
    site.constant(1, (channels, width), np.int8)
    return width
