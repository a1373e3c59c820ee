"""A stream with two readers in FINN."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from passes.finn.nodes import datatype, finn_node, vectors
from passes.graph import Graph, Rewrite


class ForkToDuplicateStreams(Rewrite):
    """a, b = Fork(x) -> a, b = DuplicateStreams(x)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Fork" or node.domain != HW_DOMAIN:
            return False
        source = node.input[0]
        graph.replace([node], [finn_node(
            "DuplicateStreams", [source], list(node.output), node.name, NumChannels=graph.shape(source)[-1], PE=1,
            NumOutputStreams=len(node.output), inputDataType=datatype(graph, source).name, numInputVectors=vectors(graph, source),
            outFIFODepths=[2] * len(node.output),
        )])  # fmt: skip
        return True
