"""The last quantizer's codes as the graph's output."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, Rewrite, set_metadata
from passes.logits_to_integer import SCALE
from passes.quantized import activation
from passes.scaling import FLOAT32, note_error


class OutputToInteger(Rewrite):
    """output = DequantizeLinear(q, s, z) -> q (z = 0), or int32 q - z; s to the metadata as what one unit is worth."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        tensor = node.output[0]
        x = activation(graph, tensor) if node.op_type == "DequantizeLinear" and tensor in graph.outputs else None
        if x is None or graph.consumers(tensor) or len(graph.outputs) != 1:
            return False
        if x.zero:
            wide = graph.new_name(f"{tensor}_wide")
            zero = graph.add_constant(f"{tensor}_zero", np.array(-x.zero, np.int32))
            new = [helper.make_node("Cast", [x.tensor], [wide], name=wide, to=TensorProto.INT32),
                   helper.make_node("Add", [wide, zero], [tensor], name=f"{tensor}_codes")]  # fmt: skip
        else:
            new = [helper.make_node("Identity", [x.tensor], [tensor], name=f"{tensor}_codes")]
        graph.replace([node], new)
        graph.proto.output[0].type.tensor_type.elem_type = TensorProto.INT32 if x.zero else TensorProto.INT8
        scale = float(x.scale)
        if np.frexp(scale)[0] != 0.5:
            note_error(graph.model.model, tensor, 0.0, 256 * FLOAT32)  # what float32 makes of code times scale
        set_metadata(graph.model.model, SCALE, repr(scale))
        return True
