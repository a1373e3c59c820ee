"""The classifier, whose sums are the result, as one node."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from custom_ops import DOMAIN
from passes.fuse_linear import fits_layer
from passes.graph import Graph, Rewrite


class FuseLinearSum(Rewrite):
    """MatMulInteger(x, W) + b -> LinearSum(x, W, b), W [K, M] and b [M] or [1] constant."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatMulInteger" or not fits_layer(graph, node, activation=0):
            return False
        user = graph.only_consumer(node.output[0], "Add")
        if user is None:
            return False
        other = next((i for i in user.input if i != node.output[0]), "")
        bias, weight = graph.constant(other), graph.constant(node.input[1])
        if bias is None or weight is None or bias.dtype != np.int32 or bias.ndim > 1 or bias.size not in (1, weight.shape[1]):
            return False
        graph.replace([node, user], [helper.make_node("LinearSum", [*node.input[:2], other], list(user.output),
                                                      name=user.output[0], domain=DOMAIN)])  # fmt: skip
        return True
