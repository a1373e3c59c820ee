"""The token mixer as one product from the left, without a transpose."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite, attribute
from passes.move_transpose_up import SWAP


class TransposedMatMul(Rewrite):
    """Transpose(MatMul(Transpose(x), W)) -> MatMul(W^T, x), for x [N, T, C] and constant W [T, U]."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Transpose" or attribute(node, "perm") != SWAP:
            return False
        product = graph.producer(node.input[0], "MatMul")
        if product is None or not graph.used_once(product.output[0]):
            return False
        inner = graph.producer(product.input[0], "Transpose")
        if inner is None or attribute(inner, "perm") != SWAP:
            return False
        weight = graph.map_parameter(product.input[1], np.transpose, rank=2)
        if weight is None:
            return False
        node, product = graph.current(node), graph.current(product)
        left = helper.make_node("MatMul", [weight, inner.input[0]], list(node.output), name=product.name)
        graph.replace([product, node], [left])
        return True
