"""Gradients of an integer graph's outputs with respect to its tables, rounding taken for the identity (straight-through)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
from onnx import NodeProto

from custom_ops import DOMAIN
from custom_ops.channel_lut import FULL
from passes.graph import Graph, PassRefusal, attribute

Values = Mapping[str, np.ndarray]  # what each tensor holds
Rule = Callable[["StraightThrough", NodeProto, Values, np.ndarray], dict[str, np.ndarray]]


class StraightThrough:
    """The reverse of the part of `graph` that depends on the tables of the nodes `luts`, by output name.

    Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013: what rounds passes the gradient on as
    it is, what clips passes it on inside its limits. Refuses, when made, an op that the integer graphs do not have.
    """

    def __init__(self, graph: Graph, luts: list[NodeProto]) -> None:
        self.graph, self.luts = graph, {n.output[0] for n in luts}
        self.dependent: set[str] = set()
        self.nodes: list[NodeProto] = []
        for node in graph.proto.node:
            if node.output[0] in self.luts or self.dependent.intersection(node.input):
                if node.op_type not in RULES or node.domain not in ("", DOMAIN):
                    raise PassRefusal(f"{node.op_type} {node.name}: no gradient through it; supported: {', '.join(RULES)}")
                self.nodes.append(node)
                self.dependent.update(node.output)

    def gradients(self, values: Values, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Table output -> gradient, of the table's shape, of a scalar whose partial derivatives by some tensors are `given`.

        `values` holds all computed tensors, the graph's input and, in place of initializers, the tables by their names.
        """
        waiting, found = {name: part.astype(np.float32) for name, part in given.items()}, {}
        for node in reversed(self.nodes):
            gradient = waiting.pop(node.output[0], None)
            if gradient is None:
                continue
            if node.output[0] in self.luts:
                found[node.output[0]] = self._of_table(node, values, gradient)
            for tensor, part in RULES[node.op_type](self, node, values, gradient).items():
                if tensor in self.dependent:
                    if part.shape != values[tensor].shape:
                        raise PassRefusal(f"{node.op_type} {node.name}: spreads '{tensor}' over more elements; no gradient through that")
                    waiting[tensor] = waiting[tensor] + part if tensor in waiting else part
        return found

    def parameter(self, tensor: str) -> np.ndarray:
        """A constant of the graph as float32."""
        value = self.graph.constant(tensor)
        if value is None:
            raise PassRefusal(f"{tensor}: is no constant; no gradient through a product of two activations")
        return value.astype(np.float32)

    def _table(self, node: NodeProto, values: Values) -> np.ndarray:
        table = values[node.input[1]] if node.input[1] in values else self.graph.constant(node.input[1])
        assert table is not None
        return table.astype(np.float32)

    def _entry(self, node: NodeProto, values: Values, rows: int) -> np.ndarray:
        """Where in the flat full table, [rows, 256], each element's entry lies; [n, C]."""
        x = values[node.input[0]]
        codes = x.view(np.uint8) ^ 128 if x.dtype == np.int8 else x
        return codes.reshape(-1, x.shape[-1]) + (np.arange(x.shape[-1]) * FULL if rows > 1 else 0)

    def _of_table(self, node: NodeProto, values: Values, gradient: np.ndarray) -> np.ndarray:
        """An entry between two knots is a weighted mean of both, so what reaches the entries is shared out to the knots."""
        rows, width = self._table(node, values).shape
        entries = np.bincount(self._entry(node, values, rows).ravel(), gradient.ravel(), rows * FULL).reshape(rows, FULL)
        return entries if width == FULL else entries @ hats(width)

    def slope(self, node: NodeProto, values: Values) -> np.ndarray:
        """dy / dx of a table at each element: of the segment, or of a full table between the two neighbours."""
        table = self._table(node, values)
        rows, width = table.shape
        every = FULL // (width - 1)
        slopes = np.gradient(table, axis=1) if width == FULL else np.repeat(np.diff(table, axis=1) / every, every, 1)
        return slopes.ravel()[self._entry(node, values, rows)].reshape(values[node.input[0]].shape)


@functools.cache
def hats(width: int) -> np.ndarray:
    """float64 [256, width]: the share of each knot in each entry, were there no rounding."""
    places = np.arange(FULL) / (FULL // (width - 1))
    return np.maximum(1 - np.abs(places[:, None] - np.arange(width)), 0)


def _channel_lut(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    if node.input[0] not in through.dependent:
        return {}
    return {node.input[0]: gradient * through.slope(node, values)}


def _requant(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    axis, y = int(attribute(node, "axis", -1)), values[node.output[0]]  # type: ignore[call-overload]
    mult, shift = (through.parameter(i).reshape(-1, *[1] * (-1 - axis)) for i in (node.input[1], node.input[3]))
    part = gradient * (mult * np.exp2(-shift))
    lo, hi = int(attribute(node, "lo", -128)), int(attribute(node, "hi", 127))  # type: ignore[call-overload]
    if y.min() <= lo or y.max() >= hi:
        part[(y <= lo) | (y >= hi)] = 0
    return {node.input[0]: part}


def _product(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    a, b = node.input[:2]
    if a in through.dependent:
        return {a: gradient @ through.parameter(b).T}
    return {b: through.parameter(a).T @ gradient}


def _mul(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    a, b = node.input if node.input[0] in through.dependent else reversed(node.input)
    return {a: gradient * through.parameter(b)}


def _add(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    a, b = node.input
    return {a: gradient * (2 if a == b else 1)} | ({} if a == b else {b: gradient})


def _sum(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    shape, axes = values[node.input[0]].shape, through.graph.constant(node.input[1]) if len(node.input) > 1 else None
    if axes is None:
        raise PassRefusal(f"{node.name}: a sum over axes that are not constant")
    kept = [1 if a in {int(x) % len(shape) for x in axes.ravel()} else d for a, d in enumerate(shape)]
    return {node.input[0]: np.broadcast_to(gradient.reshape(kept), shape)}


def _layout(through: StraightThrough, node: NodeProto, values: Values, gradient: np.ndarray) -> dict[str, np.ndarray]:
    if node.op_type == "Transpose":
        perm = attribute(node, "perm", range(gradient.ndim)[::-1])
        return {node.input[0]: gradient.transpose(np.argsort(perm))}  # type: ignore[arg-type]
    return {node.input[0]: gradient.reshape(values[node.input[0]].shape)}


RULES: dict[str, Rule] = {
    "ChannelLUT": _channel_lut, "Requant": _requant, "MatMulInteger": _product, "Mul": _mul, "Add": _add, "ReduceSum": _sum,
    **dict.fromkeys(("Cast", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"), _layout),
}  # fmt: skip
