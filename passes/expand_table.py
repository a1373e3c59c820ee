"""Tables of knots as full tables."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from custom_ops.channel_lut import FULL, channel_lut
from passes.graph import Graph, Rewrite, attribute


class ExpandTable(Rewrite):
    """ChannelLUT(x, knots) -> ChannelLUT(x, table [C, 256]): what lies between the knots is computed once, here."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        table = graph.constant(node.input[1]) if node.op_type == "ChannelLUT" else None
        if table is None or table.shape[1] == FULL:
            return False
        full = full_table(table, str(attribute(node, "rounding", "HALF_EVEN")))
        node.input[1] = graph.add_constant(f"{node.output[0]}_table", full)
        graph.reindex()
        return True


def full_table(table: np.ndarray, rounding: str) -> np.ndarray:
    """table int8 [C, entries or knots] -> int8 [C, 256], one for each code."""
    codes = np.arange(-128, 128).astype(np.int8)  # entry i is that of the i-th code, of int8 or uint8
    spread = np.repeat(codes[:, None], len(table), 1)
    return np.ascontiguousarray(channel_lut(spread, table, rounding).T)
