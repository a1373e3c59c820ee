"""Two tables in a row as one."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from custom_ops import DOMAIN
from passes.expand_table import full_table
from passes.graph import Graph, Rewrite, attribute


class MergeTables(Rewrite):
    """ChannelLUT(ChannelLUT(x, s), t) -> ChannelLUT(x, t[s]), where nothing else reads what lies between."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        before = graph.producer(node.input[0], "ChannelLUT") if node.op_type == "ChannelLUT" else None
        if before is None or not graph.used_once(before.output[0]) or {node.domain, before.domain} != {DOMAIN}:
            return False
        first, second = _full(graph, before), _full(graph, node)
        if first is None or second is None:
            return False
        both = second[np.arange(len(second))[:, None], first.astype(np.int16) + 128]
        name = graph.add_constant(f"{node.output[0]}_table", both)
        graph.replace([before, node], [helper.make_node(
            "ChannelLUT", [before.input[0], name], list(node.output), name=node.name, domain=DOMAIN,
            rounding=attribute(node, "rounding", "HALF_EVEN"), lowest=attribute(before, "lowest", -128),
        )])  # fmt: skip
        return True


def _full(graph: Graph, lut: NodeProto) -> np.ndarray | None:
    table = graph.constant(lut.input[1])
    return None if table is None else full_table(table, str(attribute(lut, "rounding", "HALF_EVEN")))
