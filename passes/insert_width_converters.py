"""Between two nodes whose streams differ in width stands a converter."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite
from passes.hardware import plan


class InsertWidthConverters(Rewrite):
    """g(f(x)) -> g(WidthConverter(f(x))) where f gives another number of lanes than g takes."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.domain != HW_DOMAIN:
            return False
        for tensor, given in zip(node.output, plan(graph, node).out_lanes, strict=True):
            user = graph.only_consumer(tensor)
            if user is None or user.domain != HW_DOMAIN:
                continue
            wanted = plan(graph, user).in_lanes[list(user.input).index(tensor)]
            if wanted != given:
                self._insert(graph, node, tensor, user, given, wanted)
                return True
        return False

    @staticmethod
    def _insert(graph: Graph, node: NodeProto, tensor: str, user: NodeProto, given: int, wanted: int) -> None:
        wide = graph.new_name(f"{tensor}_by_{wanted}")
        graph.copy_type(tensor, wide)
        user.input[:] = [wide if i == tensor else i for i in user.input]
        converter = helper.make_node("WidthConverter", [tensor], [wide], name=graph.new_name(f"{tensor}_width"),
                                     domain=HW_DOMAIN, in_lanes=given, out_lanes=wanted)  # fmt: skip
        position = [id(n) for n in graph.proto.node].index(id(node))
        graph.proto.node.insert(position + 1, converter)
