"""Linear layers along tokens as token-mixing units."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite, attribute
from passes.infer_mat_vec import refuse_zero_points, requant_inputs


class InferTokenMix(Rewrite):
    """Requant(MatMulInteger(W, x); axis = -2) -> TokenMix(x, W, bias, shift), W [U, T] constant."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        weight = graph.constant(node.input[0]) if node.op_type == "MatMulInteger" else None
        if weight is None:
            return False
        refuse_zero_points(node)
        user = graph.only_consumer(node.output[0], "Requant")
        if user is None or attribute(user, "axis", -1) != -2:
            raise PassRefusal(f"{node.name}: a linear layer along tokens needs a Requant along tokens (axis -2) behind it")
        matrix = graph.add_constant(f"{user.output[0]}_weight", weight)
        inputs, options = requant_inputs(graph, user, weight.shape[0])
        graph.replace([node, user], [helper.make_node("TokenMix", [node.input[1], matrix, *inputs], list(user.output),
                                                      name=user.name, domain=HW_DOMAIN, **options)])  # fmt: skip
        return True
