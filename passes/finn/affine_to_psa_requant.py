"""Per-channel affines in FINN."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from passes.finn.nodes import psa_requant
from passes.graph import Graph, PassRefusal, Rewrite


class AffineToPSARequant(Rewrite):
    """ChannelRequant(x, mult, bias, shift) -> PSARequant(x, mult, bias, shift)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ChannelRequant" or node.domain != HW_DOMAIN:
            return False
        mult, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if mult is None or bias is None or shift is None:
            raise PassRefusal(f"{node.name}: its parameters are no constants")
        graph.replace([node], [psa_requant(graph, node.input[0], node.output[0], node.name, bias, shift, node, mult=mult)])
        return True
