"""Tables as hardware nodes."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import DOMAIN, HW_DOMAIN
from passes.graph import Graph, Rewrite, attribute


class InferChannelLUT(Rewrite):
    """psaflow ChannelLUT -> psaflow.hw ChannelLUT, its table as it is, of 256 entries or of knots."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ChannelLUT" or node.domain != DOMAIN or graph.constant(node.input[1]) is None:
            return False
        graph.replace([node], [helper.make_node("ChannelLUT", list(node.input), list(node.output), name=node.name, domain=HW_DOMAIN,
                                                rounding=attribute(node, "rounding", "HALF_EVEN"),
                                                lowest=attribute(node, "lowest", -128))])  # fmt: skip
        return True
