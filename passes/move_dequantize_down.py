"""Dequantization moves past a change of layout, so that the layout changes on integers."""

from __future__ import annotations

from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite
from passes.move_quant_up import LAYOUT


class MoveDequantizeDown(Rewrite):
    """layout(DequantizeLinear(q, s)) -> DequantizeLinear(layout(q), s), layout = Reshape, Transpose and the like, one scale s."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type not in LAYOUT:
            return False
        dequantize = graph.producer(node.input[0], "DequantizeLinear")
        scale = graph.constant(dequantize.input[1]) if dequantize is not None else None
        if dequantize is None or scale is None or scale.size != 1 or graph.constant(dequantize.input[0]) is not None:
            return False
        integer = graph.new_name(f"{node.name}_int")
        layout = helper.make_node(node.op_type, [dequantize.input[0], *node.input[1:]], [integer], name=node.name)
        layout.attribute.extend(node.attribute)
        after = helper.make_node("DequantizeLinear", [integer, *dequantize.input[1:]], list(node.output),
                                 name=graph.new_name(f"{node.name}_dequantize"))  # fmt: skip
        graph.replace([node], [layout, after])
        return True
