"""Folding of FINN's nodes and ours by FINN's own figures."""

from __future__ import annotations

import itertools
import logging
import math
from typing import Any

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation

from custom_ops import OpError
from custom_ops.hw import divisors
from passes.graph import Graph, PassRefusal

log = logging.getLogger(__name__)


class FoldToCycles(Transformation):
    """PE and SIMD of every HLS or RTL node with FINN's cycles per image <= target: the fewest products, then DSPs, then block RAMs.

    FINN's SetFolding passes over ops that it does not know, and so would leave ours at one channel a cycle. Nodes are folded in graph
    order, so that each stream's width divides the one before it or is divided by it, where that is possible. Needs FINN and our backends.
    """

    def __init__(self, target_cycles: int, fpga_part: str) -> None:
        super().__init__()
        self.target, self.part = target_cycles, fpga_part

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in graph.proto.node:
            op = getCustomOp(node)
            candidates = [c for c in _candidates(op) if _cycles(op, c) <= self.target]
            if not candidates:
                raise PassRefusal(f"{node.output[0]}: no folding of its {node.op_type} reaches {self.target} cycles per image; "
                                  "raise the target")  # fmt: skip
            joining = [c for c in candidates if _joins_above(graph, node, op, c)]
            best = min(joining or candidates, key=lambda c: self._cost(op, c))
            log.info("%s: %s, %d cycles per image", node.output[0], best, _cycles(op, best))
        return model, False

    def _cost(self, op: Any, folding: dict[str, int]) -> tuple[int, ...]:
        _set(op, folding)
        products = folding.get("PE", 1) * folding.get("SIMD", 1)
        return products, op.dsp_estimation(self.part), op.bram_estimation(self.part), folding.get("PE", 1)


def _set(op: Any, folding: dict[str, int]) -> None:
    for name, value in folding.items():
        op.set_nodeattr(name, value)


def _cycles(op: Any, folding: dict[str, int]) -> float:
    """FINN's cycles per image of a node; infinite for a folding that one of our modules does not have."""
    _set(op, folding)
    try:
        return int(op.get_exp_cycles())
    except OpError:
        return math.inf


def _candidates(op: Any) -> list[dict[str, int]]:
    """Every folding that divides the node's vectors: PE and SIMD of a matrix unit, else the one of the two that the node has."""
    names = [name for name in ("PE", "SIMD") if name in op.get_nodeattr_types()]
    if op.onnx_node.op_type.startswith("MVAU"):
        limits = {"PE": op.get_nodeattr("MH"), "SIMD": op.get_nodeattr("MW")}
    elif op.onnx_node.op_type.startswith("PSATokenMix"):
        limits = {"PE": op.get_nodeattr("NumChannels"), "SIMD": op.get_nodeattr("MW")}
    else:
        limits = dict.fromkeys(names, op.get_normal_input_shape()[-1])
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*(divisors(int(limits[name])) for name in names))]


def _joins_above(graph: Graph, node: NodeProto, op: Any, folding: dict[str, int]) -> bool:
    """Whether the elements in a beat of every stream into the node divide those in a beat of its source, or the other way round."""
    _set(op, folding)
    for index, tensor in enumerate(node.input):
        above = graph.producer(tensor)
        if above is None:
            continue
        given = getCustomOp(above).get_folded_output_shape(list(above.output).index(tensor))[-1]
        wanted = op.get_folded_input_shape(index)[-1]
        if given % wanted and wanted % given:
            return False
    return True
