"""Tables in FINN."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from passes.expand_table import full_table
from passes.finn.nodes import datatype, finn_node, new_constant, vectors
from passes.graph import Graph, PassRefusal, Rewrite, attribute

LOWEST = {"INT8": -128, "UINT8": 0}  # the code whose value stands first in a table


class TableToPSALUT(Rewrite):
    """ChannelLUT(x, table) -> PSALUT(x, table [C, 256]), x INT8 or UINT8; what lies between knots is computed here."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ChannelLUT" or node.domain != HW_DOMAIN:
            return False
        source, table = node.input[0], graph.constant(node.input[1])
        kind, lowest = datatype(graph, source).name, attribute(node, "lowest", -128)
        if table is None:
            raise PassRefusal(f"{node.name}: its table is no constant")
        if LOWEST.get(kind) != lowest:
            raise PassRefusal(f"{node.name}: a table from code {lowest} on for {kind}; PSALUT has INT8 from -128 and UINT8 from 0 on")
        full = full_table(table, str(attribute(node, "rounding", "HALF_EVEN")))
        name = new_constant(graph, f"{node.name}_table", full, "INT8")
        graph.replace([node], [finn_node("PSALUT", [source, name], list(node.output), node.name, NumChannels=len(table), PE=1,
                                         inputDataType=kind, numInputVectors=vectors(graph, source))])  # fmt: skip
        return True
