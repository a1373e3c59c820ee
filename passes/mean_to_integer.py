"""The mean over tokens as an exact sum and one Requant."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, PassRefusal, Rewrite, attribute
from passes.quantized import activation, output_of
from passes.scaling import float_error, requantize, scaling


class MeanToInteger(Rewrite):
    """Q(mean(DQ(x), tokens)) -> Requant(sum(x, tokens)): round((sum - T * z_x) * s_x / (T * s_y)) + z_y; exact for T a power of two."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        mean = graph.producer(node.input[0], "ReduceMean") if node.op_type == "QuantizeLinear" else None
        x = activation(graph, mean.input[0]) if mean is not None else None
        if mean is None or x is None:
            return False
        name = node.output[0]
        axes = graph.constant(mean.input[1]) if len(mean.input) > 1 else None
        if axes is None or axes.size != 1:
            raise PassRefusal(f"{name}: the mean must run over one constant axis")
        axis, shape = int(axes.ravel()[0]), graph.shape(x.tensor)
        tokens = shape[axis] if -len(shape) <= axis < len(shape) else 0
        if tokens == 0:
            raise PassRefusal(f"{name}: the mean runs over axis {axis}, whose size is unknown")
        scale, zero = output_of(graph, node)
        ratio = np.array([float(x.scale) / tokens / scale])
        parameters = scaling(ratio, -tokens * x.zero * ratio, zero, f"{name}: mean of {tokens}")
        wide, total = graph.new_name(f"{name}_wide"), graph.new_name(f"{name}_sum")
        size = np.array([256.0 * float(x.scale)])
        graph.replace([mean, node], [
            helper.make_node("Cast", [x.tensor], [wide], name=wide, to=TensorProto.INT32),
            helper.make_node("ReduceSum", [wide, mean.input[1]], [total], name=total, keepdims=attribute(mean, "keepdims", 1)),
            *requantize(graph, total, name, parameters, float_error=float_error(tokens + 3, size, scale)),
        ])  # fmt: skip
        return True
