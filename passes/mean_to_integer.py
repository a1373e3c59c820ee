"""The mean over tokens as an exact sum and one Requant."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, PassRefusal, Rewrite, attribute
from passes.quantized import activation, make_requant, output_scale, scalar_if_equal, shift_for


class MeanToInteger(Rewrite):
    """Q(mean(DQ(x), tokens)) -> Requant(sum(x, tokens), shift = log2(s_out * T / s_x)); T a power of two."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        mean = graph.producer(node.input[0], "ReduceMean") if node.op_type == "QuantizeLinear" else None
        x = activation(graph, mean.input[0]) if mean is not None else None
        if mean is None or x is None:
            return False
        name = node.output[0]
        axes = graph.constant(mean.input[1]) if len(mean.input) > 1 else None
        if axes is None or axes.size != 1:
            raise PassRefusal(f"{name}: the mean must run over one constant axis")
        tokens = graph.shape(x.tensor)[int(axes.ravel()[0])]
        if tokens == 0:
            raise PassRefusal(f"{name}: the mean runs over axis {int(axes.ravel()[0])}, whose size is unknown")
        mult, shift = shift_for(x.scale / tokens, output_scale(graph, node), f"{name}: mean of {tokens}")
        wide, total = graph.new_name(f"{name}_wide"), graph.new_name(f"{name}_sum")
        graph.replace([mean, node], [
            helper.make_node("Cast", [x.tensor], [wide], name=wide, to=TensorProto.INT32),
            helper.make_node("ReduceSum", [wide, mean.input[1]], [total], name=total, keepdims=attribute(mean, "keepdims", 1)),
            make_requant(graph, total, name, name, scalar_if_equal(mult), np.zeros(1), scalar_if_equal(shift)),
        ])  # fmt: skip
        return True
