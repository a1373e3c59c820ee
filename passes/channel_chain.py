"""Where a per-channel function of one integer tensor begins: the longest chain of nodes, proven element-wise along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, defs

from custom_ops import DOMAIN, OPS
from passes.elementwise import STANDARD, is_elementwise, opset_of
from passes.graph import Graph, PassRefusal, attribute

CODES = (TensorProto.INT8, TensorProto.UINT8)
Layout = tuple[int, ...]  # position in a tensor -> axis of the source that stands there


@dataclass(frozen=True)
class Chain:
    """`nodes`, in graph order, compute tensor `end` from tensor `source`, which has the same shape.

    Each element of `end` is a function of the element of `source` at its place, one function for each channel along `axis`.
    """

    nodes: list[NodeProto]
    source: str
    end: str
    shape: list[int]
    axis: int
    unsigned: bool  # source is uint8, else int8
    layouts: dict[str, Layout]  # of the tensors that depend on source


def find_chain(graph: Graph, end: NodeProto) -> Chain | None:
    """The longest chain that ends with `end` and begins at an int8 or uint8 tensor; None where there is none.

    A node on the way is element-wise, or a Transpose that is undone before the end, or one of the ops below whose parameters
    run along the channels. Constants hold one value, or one per channel.
    """
    order = {o: i for i, n in enumerate(graph.proto.node) for o in n.output}
    codes = (t for t in _upstream(graph, end) if graph.element_type(t) in CODES and not _is_fixed(graph, t))
    sources = sorted(codes, key=lambda t: order.get(t, -1))
    for source in sources:
        found = _between(graph, source, end)
        shape = _shape(graph, source)
        if found is None or not shape:
            continue
        nodes = [found[t] for t in sorted(found, key=order.__getitem__)]
        for axis in (len(shape) - 1, *range(1, len(shape) - 1)):
            layouts = _layouts(graph, nodes, source, shape, axis) if shape[axis] else {}
            if layouts.get(end.output[0]) == tuple(range(len(shape))) and _shape(graph, end.output[0]) == shape:
                return Chain(nodes, source, end.output[0], shape, axis, graph.element_type(source) == TensorProto.UINT8, layouts)
    return None


def foldable(graph: Graph, node: NodeProto) -> bool:
    """Whether a node may stand in a chain, if its parameters and its layout fit."""
    if node.domain == DOMAIN:
        return node.op_type in OPS and OPS[node.op_type].per_channel
    return (node.domain in STANDARD and node.op_type in _PER_CHANNEL) or is_elementwise(node, graph.model.model)


def _upstream(graph: Graph, end: NodeProto) -> set[str]:
    """The tensors above `end` that foldable nodes join to it."""
    seen: set[str] = set()
    waiting = list(end.input)
    while waiting:
        tensor = waiting.pop()
        if not tensor or tensor in seen or graph.constant(tensor) is not None:
            continue
        seen.add(tensor)
        node = graph.producer(tensor)
        if node is not None and foldable(graph, node):
            waiting.extend(node.input)
    return seen


def _between(graph: Graph, source: str, end: NodeProto) -> dict[str, NodeProto] | None:
    """Tensor -> the node that makes it, for all that `end` needs beside `source` and constants; None where that is something else."""
    found = {end.output[0]: end}
    waiting, reached = list(end.input), False
    while waiting:
        tensor = waiting.pop()
        reached |= tensor == source
        if not tensor or tensor == source or tensor in found or graph.constant(tensor) is not None:
            continue
        node = graph.producer(tensor)
        if node is None or not (foldable(graph, node) or _is_fixed(graph, tensor)):
            return None
        found[tensor] = node
        waiting.extend(node.input)
    return found if reached else None


def _layouts(graph: Graph, nodes: list[NodeProto], source: str, shape: list[int], axis: int) -> dict[str, Layout]:
    """Where each tensor that depends on `source` has its axes; {} if a node mixes elements, or tells others apart than channels."""
    layouts: dict[str, Layout] = {source: tuple(range(len(shape)))}
    for node in nodes:
        if _is_fixed(graph, node.output[0]):
            continue
        moving = [i for i in node.input if i in layouts]
        parameters = [i for i in node.input if i and i not in layouts]
        if not moving or not all(_is_fixed(graph, i) for i in parameters) or len({layouts[i] for i in moving}) != 1:
            return {}
        layout = layouts[moving[0]]
        if node.op_type == "Transpose" and node.domain in STANDARD:
            layout = tuple(layout[p] for p in attribute(node, "perm", range(len(layout))[::-1]))  # type: ignore[attr-defined]
        elif not _fits(graph, node, parameters, len(moving), layout.index(axis), shape[axis], len(shape)):
            return {}
        layouts[node.output[0]] = layout
    return layouts


def _fits(graph: Graph, node: NodeProto, parameters: Sequence[str], moving: int, channels: int, count: int, rank: int) -> bool:
    """Whether the parameters of a node, whose tensors have `count` channels at position `channels`, are single or one per channel."""
    shapes = [_shape(graph, i) for i in parameters]
    rule = _PER_CHANNEL.get(node.op_type) if node.domain in STANDARD else None
    if rule is None and node.domain != DOMAIN:
        return all(s is not None and _aligned(s, channels, count, rank) for s in shapes)
    if moving != 1 or node.input[0] in parameters or (rule is not None and (len(node.output) != 1 or attribute(node, rule.refused, 0))):
        return False
    along = rule.axis(node) if rule is not None else int(attribute(node, "axis", -1))  # type: ignore[call-overload]
    if rule is not None and any(graph.constant(i) is None for i in parameters):
        return False
    if rule is not None and all(s is not None and np.prod(s, dtype=int) == 1 for s in shapes):
        return rule.spread or count == 1  # one value for all channels
    return along % rank == channels


def _aligned(shape: list[int], channels: int, count: int, rank: int) -> bool:
    """Whether a constant that is broadcast from the right varies along the channels only."""
    padded = [1] * (rank - len(shape)) + shape
    return len(padded) == rank and all(d == 1 or (p == channels and d == count) for p, d in enumerate(padded))


@dataclass(frozen=True)
class Rule:
    """A standard op whose parameters run along an axis that it names."""

    default: int  # of the attribute `axis`
    refused: str  # an attribute that must be 0
    spread: bool  # whether a parameter of one value serves all channels

    def axis(self, node: NodeProto) -> int:
        return int(attribute(node, "axis", self.default))  # type: ignore[call-overload]


_PER_CHANNEL = {
    "QuantizeLinear": Rule(1, "block_size", True), "DequantizeLinear": Rule(1, "block_size", True),
    "BatchNormalization": Rule(1, "training_mode", False), "Transpose": Rule(0, "", True),
}  # fmt: skip


def _is_fixed(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is a constant, or computed from constants alone by ops whose results never vary."""
    if graph.constant(tensor) is not None:
        return True
    node = graph.producer(tensor)
    if node is None or not node.input or node.domain not in STANDARD or not defs.has(node.op_type, opset_of(graph.model.model), ""):
        return False
    schema: Any = defs.get_schema(node.op_type, opset_of(graph.model.model))  # onnx's stubs lack its determinism
    return (schema.node_determinism == defs.OpSchema.NodeDeterminism.Deterministic
            and all(_is_fixed(graph, i) for i in node.input if i))  # fmt: skip


def _shape(graph: Graph, tensor: str) -> list[int] | None:
    try:
        return graph.shape(tensor)
    except PassRefusal:
        return None
