"""Smaller tables: knots in place of 256 entries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto, NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import DOMAIN, add_functions
from custom_ops.channel_lut import FULL
from passes.expand_table import full_table
from passes.fit_knots import SPACINGS, fit_knots, subsample_knots
from passes.graph import Graph, attribute

log = logging.getLogger(__name__)
METHODS = ("fit", "subsample")
RARE = 1e-6  # weight of a code that never occurred, beside the others' 1 on average
SLACK = 2  # codes by which the worst error may exceed the least possible one where codes are weighted


class CompressLUT(Transformation):
    """ChannelLUT(x, table [C, 256]) -> ChannelLUT(x, knots [C, 256 / s + 1]), x int8: the coarsest spacing s that is good enough.

    s is at most `every` (2, 4, 8 or 16 codes). It is `every` itself unless a table has an error above `worst`, in codes, in any
    channel, or the model with it is not `accurate`, which is asked table by table, those before as decided; a table for which
    no s will do stays full. Knots are fitted (`passes.fit_knots`) or subsampled. `counts` says how often each code of each
    channel occurs, int [C, 256] by the node's output: fitting weighs errors by it. This rewrite is not exact.
    """

    def __init__(self, every: int, *, method: str = "fit", worst: int | None = None, counts: Mapping[str, np.ndarray] | None = None,
                 accurate: Callable[[ModelProto], bool] | None = None) -> None:  # fmt: skip
        super().__init__()
        if every not in SPACINGS:
            raise ValueError(f"every={every} must be {', '.join(map(str, SPACINGS))}")
        if method not in METHODS:
            raise ValueError(f"method={method!r} must be {' or '.join(METHODS)}")
        if worst is not None and worst < 0:
            raise ValueError(f"worst={worst} must be at least 0 (codes)")
        self.every, self.method, self.worst, self.counts, self.accurate = every, method, worst, dict(counts or {}), accurate

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in graph.proto.node:
            table = compressible(graph, node)
            if table is not None:
                self._compress(graph, node, table)
        graph.drop_unused()
        return model, False

    def _compress(self, graph: Graph, node: NodeProto, table: np.ndarray) -> None:
        full, rounding = node.input[1], str(attribute(node, "rounding", "HALF_EVEN"))
        for every in (s for s in reversed(SPACINGS) if s <= self.every):
            knots = self._knots(node, table, every, rounding)
            worst = np.abs(full_table(knots, rounding).astype(int) - table).max()
            if self.worst is not None and worst > self.worst:
                continue
            node.input[1] = graph.add_constant(f"{node.output[0]}_knots", knots)
            graph.reindex()
            if self.accurate is None or self.accurate(add_functions(_copy(graph.model.model))):
                log.info("%s: %d knots for %d entries, worst error %d", node.name, knots.shape[1], FULL, worst)
                return
            node.input[1] = full
        log.info("%s: stays full", node.name)

    def _knots(self, node: NodeProto, table: np.ndarray, every: int, rounding: str) -> np.ndarray:
        if self.method == "subsample":
            return subsample_knots(table, every)
        counts = self.counts.get(node.output[0])
        if counts is None:
            return fit_knots(table, every, rounding)
        if len(table) == 1:
            counts = counts.sum(0, keepdims=True)
        weights = counts / np.maximum(counts.mean(1, keepdims=True), 1) + RARE
        return fit_knots(table, every, rounding, weights, 0 if self.worst is not None else SLACK)


def compressible(graph: Graph, node: NodeProto) -> np.ndarray | None:
    """The table of a ChannelLUT that is full, constant and read by int8 codes; None for any other node.

    Tables of pixels, three rows of 256 bytes at the network's door, save nothing and serve every layer behind.
    """
    if node.op_type != "ChannelLUT" or node.domain != DOMAIN or attribute(node, "lowest", -128) != -128:
        return None
    table = graph.constant(node.input[1])
    return table if table is not None and table.shape[1] == FULL else None


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
