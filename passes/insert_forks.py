"""A stream has one reader: where a tensor has two, a Fork copies it."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite


class InsertForks(Rewrite):
    """f(x), g(x) -> a, b = Fork(x); f(a), g(b)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.domain != HW_DOMAIN or node.op_type == "Fork":
            return False
        tensor = node.output[0]
        users = graph.consumers(tensor)
        if len(users) < 2:
            return False
        first, rest = graph.new_name(f"{tensor}_a"), graph.new_name(f"{tensor}_b")
        for number, user in enumerate(users):
            user.input[:] = [(rest if number else first) if i == tensor else i for i in user.input]
        fork = helper.make_node("Fork", [tensor], [first, rest], name=graph.new_name(f"{tensor}_fork"), domain=HW_DOMAIN)
        position = [id(n) for n in graph.proto.node].index(id(node))
        graph.proto.node.insert(position + 1, fork)
        return True
