"""Residual additions in FINN."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import BaseDataType

from custom_ops import HW_DOMAIN
from custom_ops.datatypes import integer_datatype
from passes.finn.nodes import EXACT, datatype, finn_node, new_constant, new_stream, psa_requant, vectors
from passes.graph import Graph, PassRefusal, Rewrite, attribute


class ResidualAddToElementwiseAdd(Rewrite):
    """ResidualAdd(a, b; i, j, s) -> PSARequant(ElementwiseAdd(ElementwiseMul(a, 2**i), ElementwiseMul(b, 2**j)); s).

    What i, j and s share is taken off all three first (it shifts nothing that rounding sees), and a factor of 1 is left out.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ResidualAdd" or node.domain != HW_DOMAIN:
            return False
        shifts = [int(attribute(node, name, 0)) for name in ("a_shift", "b_shift", "shift")]  # type: ignore[call-overload]
        left_a, left_b, right = (shift - min(shifts) for shift in shifts)
        nodes: list[NodeProto] = []
        terms = [self._shifted(graph, node, side, left, nodes) for side, left in ((0, left_a), (1, left_b))]
        kinds = [datatype(graph, term) for term in terms]
        total = new_stream(graph, f"{node.output[0]}_total", node.output[0], _sum(node, kinds))
        shape = [*vectors(graph, terms[0]), graph.shape(terms[0])[-1]]
        nodes.append(finn_node("ElementwiseAdd", terms, [total], f"{node.name}_total", PE=1, lhs_dtype=kinds[0].name,
                               rhs_dtype=kinds[1].name, out_dtype=datatype(graph, total).name, lhs_shape=shape, rhs_shape=shape,
                               out_shape=shape, inFIFODepths=[2, 2]))  # fmt: skip
        nodes.append(psa_requant(graph, total, node.output[0], node.name, np.zeros(1), np.array([right]), node))
        graph.replace([node], nodes)
        return True

    @staticmethod
    def _shifted(graph: Graph, node: NodeProto, side: int, left: int, nodes: list[NodeProto]) -> str:
        """Operand number `side` times 2**left; appends to `nodes` what computes it."""
        source = node.input[side]
        if left == 0:
            return source
        kind, factor = datatype(graph, source), 2**left
        result = new_stream(graph, f"{node.output[0]}_{'ab'[side]}_shifted", source,
                            integer_datatype(int(kind.min()) * factor, int(kind.max()) * factor))  # fmt: skip
        constant = new_constant(graph, f"{node.name}_{'ab'[side]}_factor", np.array([factor], np.float32), integer_datatype(0, factor).name)
        shape = [*vectors(graph, source), graph.shape(source)[-1]]
        nodes.append(finn_node("ElementwiseMul", [source, constant], [result], f"{node.name}_{'ab'[side]}", PE=1, lhs_dtype=kind.name,
                               rhs_dtype=datatype(graph, constant).name, out_dtype=datatype(graph, result).name, lhs_shape=shape,
                               rhs_shape=[1], out_shape=shape, rhs_style="const"))  # fmt: skip
        return result


def _sum(node: NodeProto, kinds: list[BaseDataType]) -> BaseDataType:
    low, high = (sum(int(getattr(kind, end)()) for kind in kinds) for end in ("min", "max"))
    if max(-low, high) >= EXACT:
        raise PassRefusal(f"{node.name}: its sum reaches {low}..{high}, beyond the 24 bits that FINN's float32 tensors carry exactly")
    return integer_datatype(low, high)
