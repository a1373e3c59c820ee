"""Tables as hardware nodes."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from custom_ops import DOMAIN, HW_DOMAIN
from custom_ops.channel_lut import channel_lut
from passes.graph import Graph, Rewrite, attribute


class InferChannelLUT(Rewrite):
    """psaflow ChannelLUT -> psaflow.hw ChannelLUT with all 256 entries; an interpolated table is evaluated on every code."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ChannelLUT" or node.domain != DOMAIN:
            return False
        table = graph.constant(node.input[1])
        if table is None:
            return False
        lowest, rounding = int(attribute(node, "lowest", -128)), str(attribute(node, "rounding", "HALF_EVEN"))  # type: ignore[call-overload]
        kind = np.uint8 if lowest == 0 else np.int8
        codes = np.repeat(np.arange(lowest, lowest + 256)[:, None], len(table), 1).astype(kind)
        full = graph.add_constant(f"{node.name}_full", channel_lut(codes, table, rounding, lowest).T)
        graph.replace([node], [helper.make_node("ChannelLUT", [node.input[0], full], list(node.output), name=node.name,
                                                domain=HW_DOMAIN, lowest=lowest)])  # fmt: skip
        return True
