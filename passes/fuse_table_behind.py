"""Tables as part of the layer before them."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import DOMAIN
from custom_ops.channel_lut import FULL
from passes.fuse_linear import LAYERS, given, with_inputs
from passes.graph import Graph, Rewrite


class FuseTableBehind(Rewrite):
    """ChannelLUT(Layer(x), t) -> Layer(x; table_out = t), for a full table and a result that nothing else reads."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ChannelLUT" or not is_full(graph, node):
            return False
        layer = graph.producer(node.input[0], *LAYERS)
        if layer is None or layer.domain != DOMAIN or not graph.used_once(layer.output[0]) or given(layer, "table_out"):
            return False
        if layer.op_type != "PatchLinear" and given(layer, "skip"):
            return False  # the sum comes last
        graph.replace([layer, node], [with_inputs(layer, {"table_out": node.input[1]}, node.output[0], layer.name)])
        return True


def is_full(graph: Graph, lut: NodeProto) -> bool:
    """Whether a ChannelLUT is one of the domain psaflow with a constant full table."""
    table = graph.constant(lut.input[1])
    return lut.domain == DOMAIN and table is not None and table.shape[1] == FULL
