"""A Transpose moves up through element-wise ops, towards the MatMul that it undoes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite, attribute

SWAP = [0, 2, 1]


class MoveTransposeUp(Rewrite):
    """Transpose(f(x)) -> f(Transpose(x)) for f = Quant with one scale, Relu, or Add of a constant [U] (it becomes [U, 1]).

    The permutation is [0, 2, 1], tokens against channels; it moves only where it ends behind MatMul(Transpose(...), W).
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Transpose" or attribute(node, "perm") != SWAP:
            return False
        source = graph.producer(node.input[0], "Quant", "Relu", "Add")
        if source is None or not graph.used_once(node.input[0]) or not _leads_to_product(graph, source):
            return False
        moved = list(source.input)
        if source.op_type == "Quant":
            scale = graph.constant(source.input[1])
            if scale is None or scale.size != 1 or graph.constant(source.input[0]) is not None:
                return False
        if source.op_type == "Add":
            column = graph.map_parameter(source.input[1], _as_column, rank=1)
            if column is None:
                return False
            moved[1] = column
            source, node = graph.current(source), graph.current(node)
        swapped = graph.new_name(f"{source.name}_transposed")
        moved[0] = swapped
        first = helper.make_node("Transpose", [source.input[0]], [swapped], name=swapped, perm=SWAP)
        second = NodeProto.FromString(source.SerializeToString())
        second.input[:], second.output[:] = moved, node.output
        graph.replace([source, node], [first, second])
        return True


def _leads_to_product(graph: Graph, node: NodeProto) -> bool:
    """Whether the chain above `node` begins at a product of a transposed tensor."""
    above = graph.producer(node.input[0], "Quant", "Relu", "Add", "MatMul")
    if above is None or above.op_type != "MatMul":
        return above is not None and _leads_to_product(graph, above)
    inner = graph.producer(above.input[0], "Transpose")
    return inner is not None and attribute(inner, "perm") == SWAP


def _as_column(value: np.ndarray) -> np.ndarray:
    return value[:, None]
