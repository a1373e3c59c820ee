"""What gives its input unchanged."""

from __future__ import annotations

from onnx import NodeProto

from passes.graph import Graph, Rewrite


class RemoveIdentity(Rewrite):
    """Identity(x) -> x, Dropout(x) -> x outside of training; an output of the graph keeps its name."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.domain or node.op_type not in ("Identity", "Dropout") or any(graph.consumers(o) for o in node.output[1:]):
            return False
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            training = graph.constant(node.input[2])
            if training is None or training.any():
                return False
        if set(node.output) & set(graph.outputs):
            return False
        source, result = node.input[0], node.output[0]
        graph.proto.node.remove(node)
        graph.rewire(result, source)
        return True
