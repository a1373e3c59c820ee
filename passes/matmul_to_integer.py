"""A linear layer between two quantizers on integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from passes.affine_chain import AffineChain, affine_chain, read_chain
from passes.graph import Graph, PassRefusal, Rewrite
from passes.quantized import Quantized, activation, output_of, parameter
from passes.scaling import float_error, requantize, scaling


class MatMulToInteger(Rewrite):
    """Q(f(DQ(x) @ DQ(W))) -> Requant(MatMulInteger(x, W)), f(a) = clip(gain * a + offset) per output channel.

    round(gain * s_x * s_w / s_y * (acc - z_x * sum(W)) + offset / s_y) + z_y: BatchNorm, affines, the bias and the zero points z go
    into multiplier, bias and shift (see `passes.scaling`), a Relu or a Clip into lo and hi. W [K, M] on the right has
    its scales along M; W [U, T] on the left (tokens) along U, and the Requant has axis -2.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear":
            return False
        linear = read_linear(graph, node.input[0], node.output[0])
        if linear is None:
            return False
        scale, zero = output_of(graph, node)
        ratio = linear.scale * linear.chain.gain / scale
        parameters = scaling(ratio, linear.chain.offset / scale + linear.shifted * ratio, zero, node.output[0])
        lo, hi = linear.chain.limits(scale, zero)
        accumulator, product = linear.product_on_integers(graph, node.output[0])
        graph.replace([*linear.nodes, node], [product, *requantize(
            graph, accumulator, node.output[0], parameters, axis=linear.axis, lo=lo, hi=hi, float_error=linear.float_error(scale),
        )])  # fmt: skip
        return True


@dataclass(frozen=True)
class Linear:
    """chain(DQ(x) @ DQ(W)), W on the right (axis -1) or on the left (axis -2)."""

    x: Quantized
    weight: np.ndarray  # integers [K, M], or [U, T] on the left
    scale: np.ndarray  # of the accumulator, float64 [channels]
    axis: int
    chain: AffineChain
    nodes: list[NodeProto]

    @property
    def sums(self) -> np.ndarray:
        """[channels]: the weights of each output channel added up, and absolutely."""
        return self.weight.sum(0 if self.axis == -1 else 1)

    @property
    def shifted(self) -> np.ndarray:
        """[channels]: what the zero point of x takes from each accumulator."""
        return -self.x.zero * self.sums

    def product_on_integers(self, graph: Graph, name: str) -> tuple[str, NodeProto]:
        """(the accumulator's name, the MatMulInteger that makes it)."""
        accumulator = graph.new_name(f"{name}_accumulator")
        matrix = graph.add_constant(f"{name}_weight_int8", self.weight.astype(np.int8))
        operands = [self.x.tensor, matrix] if self.axis == -1 else [matrix, self.x.tensor]
        return accumulator, helper.make_node("MatMulInteger", operands, [accumulator], name=f"{name}_matmul")

    def float_error(self, unit: float) -> float:
        """How far the float graph may be from real numbers, in multiples of `unit`."""
        reach = max(abs(-128 - self.x.zero), abs(127 - self.x.zero))
        most = np.abs(self.weight).sum(0 if self.axis == -1 else 1) * reach * self.scale
        terms = self.weight.shape[0 if self.axis == -1 else 1] + 4 + 4 * len(self.chain.nodes)
        return float_error(terms, most * np.abs(self.chain.gain) + self.chain.size, unit)


def read_linear(graph: Graph, tensor: str, what: str) -> Linear | None:
    """The linear layer that makes `tensor`, or None; refuses one whose constants do not fit it."""
    _, source, _, _ = read_chain(graph, tensor)
    product = graph.producer(source, "MatMul")
    if product is None:
        return None
    for at, axis in ((0, -1), (1, -2)):
        x, weight = activation(graph, product.input[at]), parameter(graph, product.input[1 - at])
        if x is not None and weight is not None and weight.value is not None and weight.value.ndim == 2:
            along = 1 if axis == -1 else 0
            channels, rank = weight.value.shape[along], len(graph.shape(source))
            _check_weight(weight, along, what)
            if rank < -axis:
                raise PassRefusal(f"{what}: a product of {rank} axes; its channels are axis {axis}")
            scale = np.broadcast_to(float(x.scale) * weight.scale.astype(np.float64).ravel(), (channels,))
            chain = affine_chain(graph, tensor, channels, axis, rank, what)
            return Linear(x, weight.value, scale, axis, chain, [product, *chain.nodes])
    return None


def _check_weight(weight: Quantized, along: int, what: str) -> None:
    """Refuses weight scales that do not run along the output channel, and integers beyond int8."""
    assert weight.value is not None
    if weight.scale.size > 1 and weight.axis != along:
        raise PassRefusal(f"{what}: weight scales along axis {weight.axis}, but output channels are axis {along}; quantize per output")
    if weight.value.min() < -128 or weight.value.max() > 127:
        raise PassRefusal(f"{what}: weights {weight.value.min()}..{weight.value.max()}, their zero points subtracted; supported is int8")
