"""A stream has one reader: where a tensor has two, a Fork copies it."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite


class InsertForks(Rewrite):
    """f(x), g(x) -> a, b = Fork(x); f(a), g(b)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        images = [i for i in node.input if i in {v.name for v in graph.proto.input}]
        return node.domain == HW_DOMAIN and any(self._fork(graph, node, tensor) for tensor in (*images, *node.output))

    @staticmethod
    def _fork(graph: Graph, node: NodeProto, tensor: str) -> bool:
        reads = [(user, place) for user in graph.consumers(tensor) for place, name in enumerate(user.input) if name == tensor]
        if len(reads) < 2:
            return False
        first, rest = graph.new_name(f"{tensor}_a"), graph.new_name(f"{tensor}_b")
        for number, (user, place) in enumerate(reads):
            user.input[place] = rest if number else first
        fork = helper.make_node("Fork", [tensor], [first, rest], name=graph.new_name(f"{tensor}_fork"), domain=HW_DOMAIN)
        position = [id(n) for n in graph.proto.node].index(id(node))
        graph.proto.node.insert(position + (tensor in node.output), fork)
        return True
