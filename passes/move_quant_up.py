"""Quantization moves before a change of layout, so that the tables see channels where they are innermost."""

from __future__ import annotations

from onnx import NodeProto, helper

from passes.graph import Graph, Rewrite

LAYOUT = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")


class MoveQuantUp(Rewrite):
    """Quant(layout(x), s) -> layout(Quant(x, s)) for one scale s and a change of layout of an activation; so for QuantizeLinear."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type not in ("Quant", "QuantizeLinear") or graph.constant(node.input[0]) is not None:
            return False
        layout = graph.producer(node.input[0], *LAYOUT)
        scale = graph.constant(node.input[1])
        if layout is None or not graph.used_once(layout.output[0]) or scale is None or scale.size != 1:
            return False
        quantized = graph.new_name(f"{node.name}_early")
        quant = NodeProto.FromString(node.SerializeToString())
        quant.input[0], quant.output[0] = layout.input[0], quantized
        moved = helper.make_node(layout.op_type, [quantized, *layout.input[1:]], list(node.output), name=layout.name)
        moved.attribute.extend(layout.attribute)
        graph.replace([layout, node], [quant, moved])
        return True
