"""Folding: how many products or elements each node handles in a cycle."""

from __future__ import annotations

import difflib
import itertools
import logging
import math
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

    Nodes are folded in graph order, and only so that a WidthConverter can join each to those above it. A stream keeps the width in
    which it comes where that reaches the target; among equal products the one with the smallest PE is taken. Refuses a target that no
    folding reaches, a node that does not exist and a value that does not divide.
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
                plan(graph, node)
            self._fold(graph, node, fixed or {})
        return model, False

    def _fold(self, graph: Graph, node: NodeProto, fixed: Mapping[str, int]) -> None:
        """The cheapest folding of `node` that keeps the values in `fixed`; slower than the target if they fix its products."""
        whole = fixed.keys() >= {"PE", "SIMD"} & OPS[node.op_type].folding.keys()
        for candidate in _candidates(graph, node, self.target, fixed):
            set_folding(node, **candidate)
            try:
                planned = plan(graph, node)
            except PassRefusal:
                continue  # a folding that this node's module does not have
            if fixed and whole and planned.cycles > self.target:
                log.warning("%s: the folding given takes %d cycles per image, more than %d", node.name, planned.cycles, self.target)
                return
            if planned.cycles <= self.target and _joins_above(graph, node, planned.in_lanes):
                log.info("%s: %s, %d cycles per image", node.name, candidate, planned.cycles)
                return
        raise PassRefusal(f"{node.name}: no folding reaches {self.target} cycles per image; raise target_cycles")


def _given(graph: Graph, tensor: str) -> int | None:
    """Lanes in which the hardware node above streams `tensor`."""
    above = graph.producer(tensor)
    if above is None or above.domain != HW_DOMAIN:
        return None
    return plan(graph, above).out_lanes[list(above.output).index(tensor)]


def _joins_above(graph: Graph, node: NodeProto, lanes: tuple[int, ...]) -> bool:
    """Whether every stream into `node` comes in a width that a WidthConverter turns into `lanes`: one divides the other."""
    pairs = [(given, wanted) for tensor, wanted in zip(node.input, lanes, strict=False) if (given := _given(graph, tensor)) is not None]
    return all(given % wanted == 0 or wanted % given == 0 for given, wanted in pairs)


def _lanes(graph: Graph, tensor: str, target: int) -> int:
    """The fewest lanes in which an image's `tensor` passes in `target` cycles; all of its channels if none suffice."""
    shape = graph.shape(tensor)[1:]
    return next((lanes for lanes in divisors(shape[-1]) if math.prod(shape) <= lanes * target), shape[-1])


def _candidates(graph: Graph, node: NodeProto, target: int, fixed: Mapping[str, int]) -> list[dict[str, int]]:
    """Foldings of a node with the values in `fixed`, the best first."""
    shape, given = graph.shape(node.input[0])[1:], _given(graph, node.input[0])
    keeps = given is not None and shape[-1] % given == 0 and math.prod(shape) <= given * target
    lanes = given if given is not None and keeps else _lanes(graph, node.input[0], target)
    if node.op_type not in ("MatVec", "TokenMix"):
        channels = graph.shape(node.output[0])[-1]
        return [{"PE": pe} | fixed for pe in sorted(divisors(channels), key=lambda pe: (pe != lanes, pe))]
    weight = graph.shape(node.input[1])
    rows, columns = (weight[0], weight[1]) if node.op_type == "MatVec" else (graph.shape(node.input[0])[-1], weight[1])
    out_lanes, found = _lanes(graph, node.output[0], target), []
    for pe, simd in sorted(itertools.product(divisors(rows), divisors(columns)), key=lambda p: (p[0] * p[1], p[0])):
        units = {"PE": pe, "SIMD": simd} | fixed
        gathered = units["SIMD" if node.op_type == "MatVec" else "PE"]
        streams = {"in_lanes": _beside(lanes, gathered), "out_lanes": _beside(out_lanes, units["PE"])}
        found.append(streams | units)
    return found


def _beside(lanes: int, units: int) -> int:
    """`lanes` where it divides `units` or is divided by it, else their greatest common divisor."""
    return math.gcd(lanes, units) if lanes % units and units % lanes else lanes
