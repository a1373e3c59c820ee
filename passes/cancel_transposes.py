"""A Transpose that undoes the one before it."""

from __future__ import annotations

from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite, attribute


class CancelTransposes(Rewrite):
    """Transpose(Transpose(x, p), q) -> x for q[p] = 0, 1, 2, ..."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        before = graph.producer(node.input[0], "Transpose") if node.op_type == "Transpose" else None
        if before is None:
            return False
        first, second = attribute(before, "perm"), attribute(node, "perm")
        if not isinstance(first, list) or not isinstance(second, list) or [first[a] for a in second] != sorted(first):
            return False
        if node.output[0] in graph.outputs:  # the output keeps its name
            graph.replace([node], [helper.make_node("Identity", [before.input[0]], list(node.output), name=node.name)])
        else:
            graph.rewire(node.output[0], before.input[0])
        return True
