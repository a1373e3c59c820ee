"""A linear layer between two quantizers on integers."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from passes.graph import Graph, PassRefusal, Rewrite
from passes.quantized import (
    Quantized,
    activation,
    bias_codes,
    make_requant,
    output_scale,
    parameter,
    scalar_if_equal,
    shift_for,
)  # fmt: skip


class MatMulToInteger(Rewrite):
    """Q(DQ(x) @ DQ(W) + DQ(b)) -> Requant(MatMulInteger(x, W), bias = b, shift = log2(s_out / (s_x * s_w))).

    W [K, M] on the right has its scales along M; W [U, T] on the left (tokens) along U, and the Requant has axis -2.
    A Relu before Q becomes lo = 0.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear":
            return False
        relu = graph.producer(node.input[0], "Relu")
        source = relu.input[0] if relu is not None else node.input[0]
        found = read_linear(graph, source)
        if found is None:
            return False
        linear, x, weight, bias, on_left = found
        assert weight.value is not None
        name = node.output[0]
        channels = weight.value.shape[0 if on_left else 1]
        check_axis(weight, 0 if on_left else 1, name)
        scale = np.broadcast_to(x.scale.ravel() * weight.scale.ravel(), (channels,))
        mult, shift = shift_for(scale, output_scale(graph, node), name)
        codes = bias_codes(bias, scale, channels, name, axis=-2 if on_left else -1).astype(np.int64) * mult
        if np.abs(codes).max() >= 2**31:
            largest = codes[np.abs(codes).argmax()]
            raise PassRefusal(f"{name}: a bias of {largest} after its multiplier, beyond int32; train with smaller biases")
        accumulator = graph.new_name(f"{name}_accumulator")
        matrix = graph.add_constant(f"{name}_weight_int8", weight.value)
        operands = [matrix, x.tensor] if on_left else [x.tensor, matrix]
        chain = [*linear, *([relu] if relu is not None else []), node]
        graph.replace(chain, [
            helper.make_node("MatMulInteger", operands, [accumulator], name=f"{name}_matmul"),
            make_requant(graph, accumulator, name, name, scalar_if_equal(mult), codes, shift,
                         axis=-2 if on_left else -1, lo=0 if relu is not None else -128),
        ])  # fmt: skip
        return True


def read_linear(graph: Graph, tensor: str) -> tuple[list[NodeProto], Quantized, Quantized, Quantized | None, bool] | None:
    """(nodes, x, W, bias or None, whether W is on the left) of DQ(x) @ DQ(W) [+ DQ(b)] that makes `tensor`, or None."""
    add = graph.producer(tensor, "Add")
    product = graph.producer(add.input[0] if add is not None else tensor, "MatMul")
    if product is None:
        return None
    bias = parameter(graph, add.input[1]) if add is not None else None
    if add is not None and bias is None:
        return None
    nodes = [product, *([add] if add is not None else [])]
    for x_at, weight_at in ((0, 1), (1, 0)):
        x, weight = activation(graph, product.input[x_at]), parameter(graph, product.input[weight_at])
        if x is not None and weight is not None and weight.value is not None and weight.value.ndim == 2:
            return nodes, x, weight, bias, weight_at == 0
    return None


def check_axis(weight: Quantized, axis: int, name: str) -> None:
    """Refuses weight scales that do not run along the output channel."""
    if weight.scale.size > 1 and weight.axis != axis:
        raise PassRefusal(f"{name}: weight scales along axis {weight.axis}, but output channels are axis {axis}; quantize per output")
    if weight.value is not None and weight.value.dtype != np.int8:
        raise PassRefusal(f"{name}: weights of {weight.value.dtype}; supported is int8")
