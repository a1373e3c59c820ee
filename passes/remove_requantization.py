"""Quantizing again what is quantized so already."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, Rewrite
from passes.quantized import activation, output_of


class RemoveRequantization(Rewrite):
    """QuantizeLinear(DequantizeLinear(q, s, z), s, z) -> q: float32 of (q - z) * s, divided by s, rounds to q - z for any code."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        x = activation(graph, node.input[0]) if node.op_type == "QuantizeLinear" else None
        zero = graph.constant(node.input[2]) if x is not None and len(node.input) > 2 else None
        if x is None or zero is None or zero.dtype != np.int8 or output_of(graph, node) != (float(x.scale), x.zero):
            return False
        if node.output[0] in graph.outputs:
            return False
        graph.rewire(node.output[0], x.tensor)
        return True
