"""A classifier's Gemm as the MatMul and Add that the other layers have."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite, attribute


class GemmToMatMul(Rewrite):
    """Gemm(x, W, b; transB) -> MatMul(x, W') + b, W' = W^T if transB; alpha = beta = 1, transA = 0."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Gemm" or attribute(node, "transA", 0):
            return False
        if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
            return False
        weight = node.input[1]
        if attribute(node, "transB", 0):
            transposed = graph.map_parameter(weight, np.transpose)
            if transposed is None:
                return False
            weight = transposed
            node = graph.current(node)
        has_bias = len(node.input) > 2
        product = graph.new_name(f"{node.name}_matmul") if has_bias else node.output[0]
        new = [helper.make_node("MatMul", [node.input[0], weight], [product], name=product)]
        if has_bias:
            new.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_add"))
        graph.replace([node], new)
        return True
