"""Linear layers along tokens in FINN."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from passes.finn.nodes import accumulator, datatype, finn_node, new_constant, parameter_bits, requant_attributes, vectors
from passes.graph import Graph, PassRefusal, Rewrite


class TokenMixToPSATokenMix(Rewrite):
    """TokenMix(x, W, bias, shift) -> PSATokenMix(x, W, bias, shift), W [U, T]."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "TokenMix" or node.domain != HW_DOMAIN:
            return False
        weight, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if weight is None or bias is None or shift is None:
            raise PassRefusal(f"{node.name}: its parameters are no constants")
        source = node.input[0]
        roles = (("weight", weight, "INT8"), ("bias", bias, "INT32"), ("shift", shift, "INT32"))
        constants = [new_constant(graph, f"{node.name}_{role}", value, kind) for role, value, kind in roles]
        graph.replace([node], [finn_node(
            "PSATokenMix", [source, *constants], list(node.output), node.name, NumChannels=graph.shape(source)[-1], PE=1, SIMD=1,
            MW=weight.shape[1], MH=weight.shape[0], inputDataType=datatype(graph, source).name, numInputVectors=vectors(graph, source),
            accBits=accumulator(node.name, weight, bias).bitwidth(), **parameter_bits(bias, shift), **requant_attributes(node),
        )])  # fmt: skip
        return True
