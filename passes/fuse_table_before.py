"""Tables as part of the layer behind them."""

from __future__ import annotations

from onnx import NodeProto, TensorProto

from custom_ops import DOMAIN
from passes.fuse_linear import given, with_inputs
from passes.fuse_table_behind import is_full
from passes.graph import Graph, Rewrite


class FuseTableBefore(Rewrite):
    """Layer(ChannelLUT(x, t)) -> Layer(x; table_in = t), for a full table of int8 whose result nothing else reads."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type not in ("Linear", "TokenLinear") or node.domain != DOMAIN or given(node, "table_in"):
            return False
        table = graph.producer(node.input[0], "ChannelLUT")
        if table is None or not is_full(graph, table) or not graph.used_once(table.output[0]):
            return False
        if graph.element_type(table.input[0]) != TensorProto.INT8:
            return False
        graph.replace([table, node], [with_inputs(node, {"x": table.input[0], "table_in": table.input[1]}, node.output[0], node.name)])
        return True
