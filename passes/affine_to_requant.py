"""A per-channel affine between two quantizers as one multiply, add and shift."""

from __future__ import annotations

from onnx import NodeProto

from passes.graph import Graph, Rewrite
from passes.quantized import activation, bias_codes, make_requant, output_scale, parameter, shift_for


class AffineToRequant(Rewrite):
    """Q(DQ(x) * DQ(w) + DQ(b)) -> Requant(x, mult = w, bias = b, shift = log2(s_out / (s_x * s_w))), w and b per channel."""

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
        name = node.output[0]
        scale = x.scale * weight.scale
        mult, shift = shift_for(scale, output_scale(graph, node), name)
        if (mult != 1).any():
            return False
        codes = bias_codes(bias, scale.ravel(), len(weight.value), name)
        chain = [n for n in (product, add, node) if n is not None]
        graph.replace(chain, [make_requant(graph, x.tensor, node.output[0], name, weight.value, codes, shift.ravel())])
        return True
