"""Linear layers along channels as matrix-vector units (FINN's MVAU)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite, attribute


class InferMatVec(Rewrite):
    """Requant(MatMulInteger(x, W)) -> MatVec(x, W^T, bias, shift); MatMulInteger(x, W) + b -> MatVec(x, W^T, b), int32."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatMulInteger":
            return False
        weight = graph.constant(node.input[1])
        if weight is None:
            return False
        refuse_zero_points(node)
        user = graph.only_consumer(node.output[0], "Requant", "Add")
        if user is None or (user.op_type == "Requant" and attribute(user, "axis", -1) != -1):
            raise PassRefusal(f"{node.name}: a linear layer along channels needs a Requant or a bias behind it")
        rows = weight.shape[1]
        matrix = graph.add_constant(f"{user.output[0]}_weight", weight.T)
        if user.op_type == "Requant":
            inputs, options = requant_inputs(graph, user, rows)
        else:
            bias = graph.constant(user.input[1])
            if bias is None:
                raise PassRefusal(f"{node.name}: its bias is no constant")
            inputs, options = [graph.add_constant(f"{user.output[0]}_bias", spread(bias, rows))], {}
        name = user.output[0] if user.op_type == "Add" else user.name
        graph.replace([node, user], [helper.make_node("MatVec", [node.input[0], matrix, *inputs], list(user.output), name=name,
                                                      domain=HW_DOMAIN, **options)])  # fmt: skip
        return True


def refuse_zero_points(product: NodeProto) -> None:
    """Raises PassRefusal for a MatMulInteger with zero points, which the units do not have."""
    if any(product.input[2:]):
        raise PassRefusal(f"{product.name}: a product with zero points; the integer contract has zero points of 0 only")


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """int32 [count] from a scalar, [1] or [count]."""
    return np.broadcast_to(values.ravel(), (count,)).astype(np.int32)


def requant_inputs(graph: Graph, requant: NodeProto, channels: int) -> tuple[list[str], dict[str, Any]]:
    """([bias, shift] as int32 [channels] initializers, attributes) of a Requant without a multiplier."""
    mult, bias, shift = (graph.constant(i) for i in requant.input[1:4])
    if mult is None or bias is None or shift is None:
        raise PassRefusal(f"{requant.name}: its parameters are no constants")
    if np.any(mult != 1):
        other = mult[mult != 1].ravel()[0]
        raise PassRefusal(f"{requant.name}: a multiplier of {other} on a raw accumulator; the matrix units only shift, "
                          "train with power-of-two scales")  # fmt: skip
    names = [graph.add_constant(f"{requant.output[0]}_{role}", spread(value, channels))
             for role, value in (("bias", bias), ("shift", shift))]  # fmt: skip
    return names, requant_options(requant)


def requant_options(requant: NodeProto) -> dict[str, Any]:
    """The attributes that a Requant hands on to a hardware node."""
    return {name: attribute(requant, name, default) for name, default in (("rounding", "HALF_EVEN"), ("lo", -128), ("hi", 127))}
