"""Residual additions as hardware nodes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite, log2_exact
from passes.infer_mat_vec import requant_options


class InferResidualAdd(Rewrite):
    """Requant(a * 2**i + b * 2**j; shift) -> ResidualAdd(a, b; i, j, shift), a and b int8 behind a Cast."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        add = graph.producer(node.input[0], "Add") if node.op_type == "Requant" else None
        if add is None:
            return False
        terms = [t for t in (_term(graph, i) for i in add.input) if t is not None]
        if len(terms) != 2:
            return False
        mult, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if mult is None or bias is None or shift is None or shift.size != 1 or np.any(mult != mult.ravel()[0]) or np.any(bias != 0):
            raise PassRefusal(f"{node.name}: a residual sum needs one constant shift, one multiplier and no bias")
        extra = int(log2_exact(mult, f"{node.name}: multiplier").ravel()[0])
        (a, a_shift), (b, b_shift) = terms
        graph.replace([add, node], [helper.make_node(
            "ResidualAdd", [a, b], list(node.output), name=node.name, domain=HW_DOMAIN, a_shift=a_shift + extra,
            b_shift=b_shift + extra, shift=int(shift.ravel()[0]), **requant_options(node),
        )])  # fmt: skip
        return True


def _term(graph: Graph, tensor: str) -> tuple[str, int] | None:
    """(int8 tensor, left shift) of Cast(x) or Cast(x) * 2**left, or None."""
    product, left = graph.producer(tensor, "Mul"), 0
    if product is not None:
        factor = graph.constant(product.input[1])
        if factor is None or factor.size != 1:
            return None
        left, tensor = int(log2_exact(factor, product.name).ravel()[0]), product.input[0]
    cast = graph.producer(tensor, "Cast")
    return None if cast is None or graph.element_type(cast.input[0]) != TensorProto.INT8 else (cast.input[0], left)
