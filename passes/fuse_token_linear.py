"""Linear layers along tokens as one node."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import DOMAIN
from passes.fuse_linear import constant_parameters, fits_layer
from passes.graph import Graph, Rewrite, attribute
from passes.infer_mat_vec import requant_options


class FuseTokenLinear(Rewrite):
    """Requant(MatMulInteger(W, x); axis = -2) -> TokenLinear(x, W), W [U, T] constant; another product stays as it is."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatMulInteger" or not fits_layer(graph, node, activation=1):
            return False
        user = graph.only_consumer(node.output[0], "Requant")
        weight, x = node.input[:2]
        outputs = graph.constant(weight).shape[0]  # type: ignore[union-attr]
        if user is None or attribute(user, "axis", -1) != -2 or not constant_parameters(graph, user, outputs):
            return False
        graph.replace([node, user], [helper.make_node("TokenLinear", [x, weight, *user.input[1:4]], list(user.output),
                                                      name=user.name, domain=DOMAIN, **requant_options(user))])  # fmt: skip
        return True
