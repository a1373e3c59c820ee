"""Finer codes for a table whose channels use few of theirs, so that its knots lie where it is read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import DOMAIN
from custom_ops.channel_lut import FULL
from passes.compress_lut import compressible
from passes.graph import Graph, attribute

log = logging.getLogger(__name__)
RARE = 1e-3  # share of a channel's codes, half at either end, that may come to lie outside the 256 and are clipped
BIAS = 2**23  # a bias stays below


class WidenCodes(Transformation):
    """Requant(a, m, b, s) -> ChannelLUT(t) to Requant(a, m, b - o * 2**s, s - k) -> ChannelLUT(t'), t'[2**k * (x - o)] = t[x].

    Per channel: the codes x of which `counts` (int [C, 256] by the table's output) says that they occur are centred by o and
    spread by 2**k, k as large as 256 codes allow; entries between are interpolated. Knots every so many codes then are 2**k
    times as dense, and nothing but a bias and a shift has changed. Not exact: the requantization rounds at finer steps, and what
    is `RARE` is clipped. Left alone are Requants that something else reads too, that clip elsewhere, or without counts.
    """

    def __init__(self, counts: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.counts = dict(counts)

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for lut in graph.proto.node:
            table, counts = compressible(graph, lut), self.counts.get(lut.output[0])
            requant = graph.producer(lut.input[0], "Requant")
            if table is None or counts is None or len(table) != len(counts) or requant is None or requant.domain != DOMAIN:
                continue
            if graph.only_consumer(requant.output[0]) is not None and _free(requant):
                self._widen(graph, requant, lut, table, counts)
        graph.drop_unused()
        return model, False

    def _widen(self, graph: Graph, requant: NodeProto, lut: NodeProto, table: np.ndarray, counts: np.ndarray) -> None:
        constants = [graph.constant(i) for i in requant.input[2:4]]
        if any(c is None for c in constants):
            return
        bias, shift = (np.broadcast_to(c, len(table)).astype(np.int64) for c in constants if c is not None)
        spread, centre = _ranges(counts)
        spread = np.minimum(spread, shift)
        moved = bias - (centre << shift)
        keep = (spread == 0) | (np.abs(moved) >= BIAS)
        if keep.all():
            return
        spread, centre, moved = (np.where(keep, old, new) for old, new in ((0, spread), (0, centre), (bias, moved)))
        requant.input[2] = graph.add_constant(f"{requant.output[0]}_bias_wide", moved.astype(np.int32))
        requant.input[3] = graph.add_constant(f"{requant.output[0]}_shift_wide", (shift - spread).astype(np.int32))
        lut.input[1] = graph.add_constant(f"{lut.output[0]}_table_wide", _spread(table, spread, centre))
        graph.reindex()
        log.info("%s: finer codes in %d of %d channels", lut.name, (~keep).sum(), len(table))


def _free(requant: NodeProto) -> bool:
    """Clips only where int8 ends, channels last."""
    return (attribute(requant, "lo", -128), attribute(requant, "hi", 127), attribute(requant, "axis", -1)) == (-128, 127, -1)


def _ranges(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """counts [C, 256] -> (k, o), int [C]: all codes between the rare ones fit into 256 when centred by o and spread by 2**k."""
    below = np.cumsum(counts, 1)
    total = below[:, -1:]
    first = (below > RARE / 2 * total).argmax(1)
    last = (below >= (1 - RARE / 2) * total).argmax(1)
    width = np.maximum(last - first + 2, 2)  # and half a code at either end
    spread = np.where(total[:, 0] > 0, np.log2(FULL // width).astype(np.int64), 0)
    return spread, (first + last + 1) // 2 - 128


def _spread(table: np.ndarray, spread: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The table over the new codes, int8 [C, 256]."""
    codes = np.arange(-128, 128)
    rows = [np.interp(o + codes / 2.0**k, codes, row) for row, k, o in zip(table, spread, centre, strict=True)]
    return np.rint(rows).astype(np.int8)
