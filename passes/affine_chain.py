"""Reading what stands between a product and its quantizer: per-channel affines, BatchNorm among them, then a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, PassRefusal, attribute
from passes.quantized import HIGH, LOW, parameter

OPS = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


@dataclass
class AffineChain:
    """z = clip(gain * source + offset, low, high), gain and offset float64 [channels]."""

    source: str  # the tensor that the chain begins with
    gain: np.ndarray
    offset: np.ndarray
    size: np.ndarray  # sum of the absolute values of the offset's parts
    low: float = -np.inf
    high: float = np.inf
    nodes: list[NodeProto] = field(default_factory=list)

    def limits(self, scale: float, zero: int) -> tuple[int, int]:
        """Codes of `low` and `high`: clipping before a quantizer is clipping behind it, because it is monotone."""
        with np.errstate(over="ignore"):
            codes = [np.rint(np.float32(v) / np.float32(scale)) + zero for v in (self.low, self.high)]
        lo, hi = (int(np.clip(c, LOW, HIGH)) for c in codes)
        return lo, max(lo, hi)


def real_constant(graph: Graph, tensor: str) -> np.ndarray | None:
    """Float64 value of a constant or of dequantized integers; None for an activation."""
    value = graph.constant(tensor)
    if value is None:
        integers = parameter(graph, tensor)
        return None if integers is None else integers.real()
    return value.astype(np.float64) if value.dtype.kind == "f" else None


def clip_limits(graph: Graph, node: NodeProto) -> tuple[float, float] | None:
    """(low, high) of a Relu, or of a Clip with constant limits; None for any other node."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip" or node.domain:
        return None
    limits = [-np.inf, np.inf]
    for position in (1, 2):
        if len(node.input) > position and node.input[position]:
            value = real_constant(graph, node.input[position])
            if value is None or value.size != 1:
                return None
            limits[position - 1] = float(value.ravel()[0])
    return (limits[0], limits[1]) if limits[0] <= limits[1] else None


def read_chain(graph: Graph, tensor: str) -> tuple[list[NodeProto], str, float, float]:
    """(nodes from the last up, the tensor they begin with, low, high): all affines above `tensor`, behind them a clip."""
    nodes: list[NodeProto] = []
    low, high = -np.inf, np.inf
    node = graph.producer(tensor)
    while node is not None and (limits := clip_limits(graph, node)) is not None:
        nodes.append(node)
        low, high = max(low, min(limits[0], high)), min(high, max(limits[1], low))
        tensor = node.input[0]
        node = graph.producer(tensor)
    while node is not None and node.op_type in OPS and not node.domain:
        source = _source(graph, node)
        if source is None:
            break
        nodes.append(node)
        tensor = source
        node = graph.producer(tensor)
    return nodes, tensor, low, high


def affine_chain(graph: Graph, tensor: str, channels: int, axis: int, rank: int, what: str) -> AffineChain:
    """The chain above `tensor`, whose channels run along `axis` (-1 or -2) of `rank` axes; refuses a constant of another shape."""
    nodes, source, low, high = read_chain(graph, tensor)
    chain = AffineChain(source, np.ones(channels), np.zeros(channels), np.zeros(channels), low, high, nodes)
    for node in reversed(nodes):
        if clip_limits(graph, node) is None:
            gain, offset = _step(graph, node, channels, axis, rank, what)
            chain.gain, chain.offset = chain.gain * gain, chain.offset * gain + offset
            chain.size = chain.size * np.abs(gain) + np.abs(offset)
    return chain


def _source(graph: Graph, node: NodeProto) -> str | None:
    """The one input of an affine op that is no constant, where the others are and the op is affine in it."""
    if node.op_type == "BatchNormalization":
        training = attribute(node, "training_mode", 0) or len([o for o in node.output if o]) > 1
        return node.input[0] if not training and all(graph.constant(i) is not None for i in node.input[1:5]) else None
    constants = [real_constant(graph, i) is not None for i in node.input]
    if constants == [False, True]:
        return node.input[0]
    return node.input[1] if constants == [True, False] and node.op_type != "Div" else None


def _step(graph: Graph, node: NodeProto, channels: int, axis: int, rank: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(gain, offset) of one affine op."""
    one, none = np.ones(channels), np.zeros(channels)
    if node.op_type == "BatchNormalization":
        if axis % rank != 1:
            raise PassRefusal(f"{what}: BatchNormalization {node.name} runs along axis 1, the product's channels along axis {axis % rank}")
        weight, bias, mean, variance = (_spread(graph.constant(i), channels, -1, 1, what) for i in node.input[1:5])
        epsilon = float(attribute(node, "epsilon", 1e-5))  # type: ignore[arg-type]
        gain = weight / np.sqrt(variance + epsilon)
        return gain, bias - mean * gain
    at = 0 if real_constant(graph, node.input[0]) is not None else 1
    value = _spread(real_constant(graph, node.input[at]), channels, axis, rank, what)
    if node.op_type == "Add":
        return one, value
    if node.op_type == "Sub":
        return (-one, value) if at == 0 else (one, -value)
    if node.op_type == "Mul":
        return value, none
    if np.any(value == 0):
        raise PassRefusal(f"{what}: {node.op_type} {node.name} divides by 0")
    return 1 / value, none


def _spread(value: np.ndarray | None, channels: int, axis: int, rank: int, what: str) -> np.ndarray:
    """[channels] of a scalar or of one value per channel along `axis`."""
    assert value is not None
    wanted = (channels,) + (1,) * (-1 - axis)
    shape = list(value.shape)
    if len(shape) > rank:
        raise PassRefusal(f"{what}: a constant of shape {shape} adds axes to a product of {rank}")
    while len(shape) > len(wanted) and shape[0] == 1:
        shape.pop(0)
    if value.size != 1 and (tuple(shape) != wanted or value.size != channels):
        raise PassRefusal(f"{what}: a bias of shape {list(value.shape)}; supported is one per output channel, {list(wanted)}")
    return np.broadcast_to(value.ravel().astype(np.float64), (channels,)).copy()
