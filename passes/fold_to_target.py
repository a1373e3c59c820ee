"""Folding: how many products or elements each node handles in a cycle."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import HW_DOMAIN
from custom_ops.hw import OPS, divisors
from passes.graph import Graph, PassRefusal
from passes.hardware import hardware_nodes, plan, set_folding

log = logging.getLogger(__name__)


class FoldToTarget(Transformation):
    """The fewest products (PE * SIMD) per node with cycles per image <= target; then `folding` by node name on top.

    Nodes are folded in graph order, and only so that a WidthConverter can join each to those above it. Among equal
    products the one with the smallest PE is taken, for narrow streams. Refuses a target that no folding
    reaches, a node that does not exist and a value that does not divide.
    """

    def __init__(self, target_cycles: int, folding: Mapping[str, Mapping[str, int]] | None = None) -> None:
        super().__init__()
        self.target, self.folding = target_cycles, dict(folding or {})

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        nodes = hardware_nodes(graph)
        for name in self.folding:
            if name not in {n.name for n in nodes}:
                close = difflib.get_close_matches(name, [n.name for n in nodes], 1)
                hint = f"did you mean {close[0]!r}?" if close else f"nodes: {', '.join(n.name for n in nodes)}"
                raise PassRefusal(f"folding: no node {name!r}; {hint}")
        for node in nodes:
            fixed = self.folding.get(node.name)
            if fixed:
                known = OPS[node.op_type].folding
                for name in fixed.keys() - known.keys():
                    raise PassRefusal(
                        f"folding: {node.name} is a {node.op_type}, which has no {name!r}; it has {', '.join(known) or 'none'}"
                    )
                set_folding(node, **fixed)
                cycles = plan(graph, node).cycles
                if fixed.keys() < known.keys():
                    self._fold(graph, node, fixed)
                elif cycles > self.target:
                    log.warning("%s: the folding given takes %d cycles per image, more than %d", node.name, cycles, self.target)
            else:
                self._fold(graph, node, {})
        return model, False

    def _fold(self, graph: Graph, node: NodeProto, fixed: Mapping[str, int]) -> None:
        """The cheapest folding of `node` that keeps the values in `fixed`."""
        for candidate in _candidates(graph, node):
            if not fixed.items() <= candidate.items():
                continue
            set_folding(node, **candidate)
            try:
                planned = plan(graph, node)
            except PassRefusal:
                continue  # a folding that this node's module does not have
            if planned.cycles <= self.target and _joins_above(graph, node, planned.in_lanes):
                log.info("%s: %s, %d cycles per image", node.name, candidate, planned.cycles)
                return
        raise PassRefusal(f"{node.name}: no folding reaches {self.target} cycles per image; raise target_cycles")


def _joins_above(graph: Graph, node: NodeProto, lanes: tuple[int, ...]) -> bool:
    """Whether every stream into `node` comes in a width that a WidthConverter turns into `lanes`: one divides the other."""
    for tensor, wanted in zip(node.input, lanes, strict=False):
        above = graph.producer(tensor)
        if above is None or above.domain != HW_DOMAIN:
            continue
        given = plan(graph, above).out_lanes[list(above.output).index(tensor)]
        if given % wanted and wanted % given:
            return False
    return True


def _candidates(graph: Graph, node: NodeProto) -> list[dict[str, int]]:
    """Foldings of a node, fewest products first."""
    if node.op_type in ("MatVec", "TokenMix"):
        weight = graph.shape(node.input[1])
        rows, columns = (weight[0], weight[1]) if node.op_type == "MatVec" else (graph.shape(node.input[0])[-1], weight[1])
        pairs = [(pe, simd) for pe in divisors(rows) for simd in divisors(columns)]
        return [{"PE": pe, "SIMD": simd} for pe, simd in sorted(pairs, key=lambda p: (p[0] * p[1], p[0]))]
    channels = graph.shape(node.output[0])[-1]
    return [{"PE": pe} for pe in divisors(channels)]
