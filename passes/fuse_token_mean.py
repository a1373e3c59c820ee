"""The mean over tokens as one node."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from custom_ops import DOMAIN
from passes.fuse_linear import constant_parameters
from passes.graph import Graph, Rewrite, attribute
from passes.infer_mat_vec import requant_options


class FuseTokenMean(Rewrite):
    """Requant(ReduceSum(Cast(x), tokens); shift) -> TokenMean(x; shift), x int8 [N, T, C], the token axis not kept."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        total = graph.producer(node.input[0], "ReduceSum") if node.op_type == "Requant" else None
        cast = graph.producer(total.input[0], "Cast") if total is not None else None
        if total is None or cast is None or not (graph.used_once(total.output[0]) and graph.used_once(cast.output[0])):
            return False
        axes = graph.constant(total.input[1]) if len(total.input) > 1 else None
        image = graph.dims(cast.input[0])
        if axes is None or attribute(total, "keepdims", 1) or image is None or len(image) != 3:
            return False
        if graph.element_type(cast.input[0]) != TensorProto.INT8 or attribute(cast, "to") != TensorProto.INT32:
            return False
        if not constant_parameters(graph, node, image[-1]):
            return False
        mult, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if axes.ravel().tolist() not in ([1], [-2]) or shift.size != 1 or np.any(mult != 1) or np.any(bias != 0):  # type: ignore[union-attr]
            return False
        graph.replace([total, node], [helper.make_node("TokenMean", [cast.input[0]], list(node.output), name=node.name, domain=DOMAIN,
                                                       shift=int(shift.ravel()[0]), **requant_options(node))])  # type: ignore[union-attr]  # fmt: skip
        return True
