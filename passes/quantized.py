"""What the integer rewrites share: reading Quantize and Dequantize nodes, and making a Requant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from custom_ops import DOMAIN
from passes.graph import Graph, PassRefusal, attribute

ROUNDING = "HALF_EVEN"  # what QuantizeLinear does
LOW, HIGH = -128, 127  # of a code


@dataclass(frozen=True)
class Quantized:
    """An integer tensor, what one unit of it is worth, and the code of 0; `value` holds the integers of a constant."""

    tensor: str
    scale: np.ndarray  # scalar, or [n] along `axis`
    axis: int
    value: np.ndarray | None  # of a constant, with its zero points subtracted
    zero: int = 0  # of an activation

    def real(self) -> np.ndarray:
        """Float64 values of a constant."""
        assert self.value is not None
        return self.value.astype(np.float64) * along(self.scale, self.axis, self.value.ndim)


def along(vector: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A scalar, or [n] as it broadcasts along `axis` of a tensor of `rank` axes; float64."""
    values = np.asarray(vector, np.float64).ravel()
    if values.size == 1 or not rank:
        return values.reshape(())
    return values.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def dequantized(graph: Graph, tensor: str) -> Quantized | None:
    """The integers behind `tensor`, if a DequantizeLinear of constant scale and zero point makes it."""
    node = graph.producer(tensor, "DequantizeLinear")
    if node is None or attribute(node, "block_size", 0):
        return None
    scale, value = graph.constant(node.input[1]), graph.constant(node.input[0])
    given = len(node.input) > 2 and bool(node.input[2])
    zero = graph.constant(node.input[2]) if given else np.zeros((), np.int8)
    if scale is None or zero is None or scale.dtype != np.float32:
        return None
    axis = int(attribute(node, "axis", 1))  # type: ignore[call-overload]
    if value is None:
        plain = scale.size == 1 and zero.size == 1 and zero.dtype == np.int8
        return Quantized(node.input[0], scale.reshape(()), axis, None, int(zero.ravel()[0])) if plain else None
    if value.dtype.kind not in "iu" or scale.ndim > 1 or (scale.size > 1 and not _fits(value, scale, axis)):
        return None
    axis = axis % value.ndim if value.ndim else 0
    codes = value.astype(np.int64) - along(zero, axis, value.ndim).astype(np.int64)
    return Quantized(node.input[0], scale, axis, codes)


def _fits(value: np.ndarray, scale: np.ndarray, axis: int) -> bool:
    return -value.ndim <= axis < value.ndim and value.shape[axis] == scale.size


def activation(graph: Graph, tensor: str) -> Quantized | None:
    """Like `dequantized`, for an int8 tensor that is no constant."""
    found = dequantized(graph, tensor)
    return found if found is not None and found.value is None else None


def parameter(graph: Graph, tensor: str) -> Quantized | None:
    """Like `dequantized`, for a constant."""
    found = dequantized(graph, tensor)
    return found if found is not None and found.value is not None else None


def output_scale(graph: Graph, quantize: NodeProto) -> np.ndarray:
    """The scale of a QuantizeLinear."""
    scale = graph.constant(quantize.input[1])
    if scale is None or scale.size != 1:
        raise PassRefusal(f"{quantize.name}: the scale must be one constant")
    return scale.reshape(())


def output_of(graph: Graph, quantize: NodeProto) -> tuple[float, int]:
    """(scale, zero point) of a QuantizeLinear to int8."""
    zero = graph.constant(quantize.input[2]) if len(quantize.input) > 2 else None
    if zero is None or zero.dtype != np.int8 or zero.size != 1:
        kind = "a computed zero point" if zero is None else f"{zero.dtype} and {zero.size} zero points"
        raise PassRefusal(f"{quantize.name}: quantizes to {kind}; supported are 8 bits with one constant zero point")
    return float(output_scale(graph, quantize)), int(zero.ravel()[0])


def make_requant(graph: Graph, source: str, target: str, name: str, mult: np.ndarray, bias: np.ndarray, shift: np.ndarray, *,
                 axis: int = -1, lo: int = LOW, hi: int = HIGH) -> NodeProto:  # fmt: skip
    """A Requant node from tensor `source` to tensor `target`, its parameters as initializers."""
    parameters = [graph.add_constant(f"{name}_{role}", np.asarray(value, np.int32))
                  for role, value in (("mult", mult), ("bias", bias), ("shift", shift))]  # fmt: skip
    return helper.make_node("Requant", [source, *parameters], [target], name=name, domain=DOMAIN, axis=axis, rounding=ROUNDING,
                            lo=lo, hi=hi)  # fmt: skip


def code_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """Least and greatest code of a Quant."""
    return (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)


def scalar_if_equal(values: np.ndarray) -> np.ndarray:
    """[1] instead of [n] where all are the same."""
    flat = np.asarray(values).ravel()
    return flat[:1] if flat.size and np.all(flat == flat[0]) else flat
