"""Linear layers along channels as one node; and what the fusing passes share."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from custom_ops import DOMAIN, OPS
from passes.graph import Graph, Rewrite, attribute
from passes.infer_mat_vec import requant_options

MOST_INPUTS = 2**16  # of a layer: every sum then fits int32


class FuseLinear(Rewrite):
    """Requant(MatMulInteger(x, W); axis = -1) -> Linear(x, W), W [K, M] constant; another product stays as it is."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatMulInteger" or not fits_layer(graph, node, activation=0):
            return False
        user = graph.only_consumer(node.output[0], "Requant")
        outputs = graph.constant(node.input[1]).shape[1]  # type: ignore[union-attr]
        if user is None or attribute(user, "axis", -1) != -1 or not constant_parameters(graph, user, outputs):
            return False
        graph.replace([node, user], [helper.make_node("Linear", [*node.input[:2], *user.input[1:4]], list(user.output),
                                                      name=user.name, domain=DOMAIN, **requant_options(user))])  # fmt: skip
        return True


def fits_layer(graph: Graph, product: NodeProto, activation: int) -> bool:
    """Whether a MatMulInteger multiplies an int8 activation (input 0 or 1) by a constant int8 matrix, zero points 0."""
    weight = graph.constant(product.input[1 - activation])
    if weight is None or weight.dtype != np.int8 or weight.ndim != 2 or not weight.size:
        return False
    if weight.shape[activation] > MOST_INPUTS:
        return False
    return graph.element_type(product.input[activation]) == TensorProto.INT8 and not any(product.input[2:])


def constant_parameters(graph: Graph, requant: NodeProto, channels: int | str) -> bool:
    """Whether a Requant's mult, bias and shift are constants, each one number or one for each of `channels`."""
    values = [graph.constant(i) for i in requant.input[1:4]]
    return all(v is not None and v.ndim <= 1 and v.size > 0 and v.size in (1, channels) for v in values)


def given(node: NodeProto, role: str) -> str:
    """The tensor that a fused node has as its input `role`; "" where it has none."""
    index = OPS[node.op_type].inputs.index(role)
    return node.input[index] if index < len(node.input) else ""


def with_inputs(node: NodeProto, roles: dict[str, str], output: str, name: str, **attributes: int) -> NodeProto:
    """A copy of a fused node with more inputs, another result and more attributes."""
    names = OPS[node.op_type].inputs
    inputs = [roles.get(role, given(node, role)) for role in names]
    while not inputs[-1]:
        inputs.pop()
    kept = {a.name: helper.get_attribute_value(a) for a in node.attribute} | attributes
    return helper.make_node(node.op_type, inputs, [output], name=name, domain=DOMAIN, **kept)


LAYERS = ("Linear", "TokenLinear", "PatchLinear")
