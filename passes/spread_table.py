"""A table that all channels share as one row per channel."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, PassRefusal, Rewrite


class SpreadTable(Rewrite):
    """ChannelLUT(x, table [1, L]) -> ChannelLUT(x, table [C, L]), the row C times: hardware and fused layers hold a row per channel."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        table = graph.constant(node.input[1]) if node.op_type == "ChannelLUT" else None
        if table is None or len(table) != 1:
            return False
        channels = graph.shape(node.input[0])[-1]
        if channels == 1:
            return False
        if not channels:
            raise PassRefusal(f"{node.name}: the channels of '{node.input[0]}' are not known; a row for each needs their number")
        node.input[1] = graph.add_constant(f"{node.output[0]}_rows", np.repeat(table, channels, 0))
        graph.reindex()
        return True
