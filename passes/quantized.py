"""What the integer rewrites share: reading Quantize and Dequantize nodes, and making a Requant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from custom_ops import DOMAIN
from passes.graph import Graph, PassRefusal, attribute, log2_exact

LARGEST_SHIFT = 31
ROUNDING = "HALF_EVEN"  # what QuantizeLinear does


@dataclass(frozen=True)
class Quantized:
    """An integer tensor and what one unit of it is worth; `value` holds the integers of a constant."""

    tensor: str
    scale: np.ndarray  # scalar, or [n] along `axis`
    axis: int
    value: np.ndarray | None


def dequantized(graph: Graph, tensor: str) -> Quantized | None:
    """The integers behind `tensor`, if a DequantizeLinear with zero point 0 makes it."""
    node = graph.producer(tensor, "DequantizeLinear")
    if node is None:
        return None
    scale = graph.constant(node.input[1])
    zero = graph.constant(node.input[2]) if len(node.input) > 2 else None
    if scale is None or (zero is not None and np.any(zero != 0)):
        return None
    return Quantized(node.input[0], scale, int(attribute(node, "axis", 1)), graph.constant(node.input[0]))  # type: ignore[call-overload]


def activation(graph: Graph, tensor: str) -> Quantized | None:
    """Like `dequantized`, for a tensor that is no constant."""
    found = dequantized(graph, tensor)
    return found if found is not None and found.value is None and found.scale.size == 1 else None


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


def shift_for(accumulator_scale: np.ndarray, scale: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(mult, shift), int32 of accumulator_scale's shape, with mult / 2**shift = accumulator_scale / scale exactly."""
    exponent = log2_exact(scale, f"{what}: output scale") - log2_exact(accumulator_scale, f"{what}: accumulator scale")
    if np.any(exponent > LARGEST_SHIFT) or np.any(exponent < -LARGEST_SHIFT + 8):
        raise PassRefusal(f"{what}: a shift of {exponent.ravel()[np.abs(exponent).argmax()]} is outside 0..{LARGEST_SHIFT}")
    return (2 ** np.maximum(-exponent, 0)).astype(np.int32), np.maximum(exponent, 0).astype(np.int32)


def bias_codes(bias: Quantized | None, accumulator_scale: np.ndarray, channels: int, what: str, *, axis: int = -1) -> np.ndarray:
    """int32 [channels]: the bias at the accumulator's scale, whose channels run along `axis`."""
    if bias is None or bias.value is None:
        return np.zeros(channels, np.int32)
    wanted = (channels,) + (1,) * (-1 - axis)
    if bias.value.size != 1 and (bias.value.size != channels or bias.value.shape[-len(wanted) :] != wanted):
        raise PassRefusal(f"{what}: a bias of shape {list(bias.value.shape)}; supported is one per output channel, {list(wanted)}")
    if not np.array_equal(np.broadcast_to(bias.scale.ravel(), (channels,)), np.broadcast_to(accumulator_scale, (channels,))):
        raise PassRefusal(f"{what}: the bias has another scale than the accumulator; quantize it with input scale x weight scale")
    return np.broadcast_to(bias.value.ravel(), (channels,)).astype(np.int32)


def make_requant(graph: Graph, source: str, target: str, name: str, mult: np.ndarray, bias: np.ndarray, shift: np.ndarray, *,
                 axis: int = -1, lo: int = -128, hi: int = 127) -> NodeProto:  # fmt: skip
    """A Requant node from tensor `source` to tensor `target`, its parameters as initializers."""
    parameters = [graph.add_constant(f"{name}_{role}", np.asarray(value, np.int32))
                  for role, value in (("mult", mult), ("bias", bias), ("shift", shift))]  # fmt: skip
    return helper.make_node("Requant", [source, *parameters], [target], name=name, domain=DOMAIN, axis=axis, rounding=ROUNDING,
                            lo=lo, hi=hi)  # fmt: skip


def scalar_if_equal(values: np.ndarray) -> np.ndarray:
    """[1] instead of [n] where all are the same."""
    flat = np.asarray(values).ravel()
    return flat[:1] if flat.size and np.all(flat == flat[0]) else flat
