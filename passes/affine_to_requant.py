"""A per-channel affine between two quantizers as one multiply, add and shift."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, Rewrite
from passes.quantized import activation, make_requant, output_of, parameter
from passes.scaling import exact_scaling


class AffineToRequant(Rewrite):
    """Q(DQ(x) * DQ(w) + DQ(b)) -> Requant(x, mult = w, bias = b, shift = log2(s_out / (s_x * s_w))), w and b per channel.

    Only where that is exact: all scales powers of two, zero points 0, b in whole units of s_x * s_w; the rest becomes a table.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear":
            return False
        add = graph.producer(node.input[0], "Add")
        product = graph.producer(add.input[0] if add is not None else node.input[0], "Mul")
        if product is None:
            return False
        x, weight = activation(graph, product.input[0]), parameter(graph, product.input[1])
        bias = parameter(graph, add.input[1]) if add is not None else None
        if x is None or weight is None or weight.value is None or weight.value.ndim != 1 or (add is not None and bias is None):
            return False
        scale, zero = output_of(graph, node)
        if zero or x.zero:
            return False
        channels = len(weight.value)
        offset = np.zeros(1) if bias is None else bias.real().ravel()
        if offset.size not in (1, channels) or np.abs(weight.value).max() >= 2**31:
            return False
        ratio = np.broadcast_to(float(x.scale) * weight.scale.astype(np.float64).ravel() / scale, (channels,))
        parameters = exact_scaling(ratio, np.broadcast_to(offset / scale, (channels,)), 0)
        if parameters is None or np.any(parameters.mult != 1):
            return False
        chain = [n for n in (product, add, node) if n is not None]
        graph.replace(chain, [make_requant(graph, x.tensor, node.output[0], node.output[0], weight.value, parameters.bias,
                                           parameters.shift if weight.scale.size > 1 else parameters.shift[:1])])  # fmt: skip
        return True
