"""The narrowest datatype of weights and accumulators, from the numbers that they can hold."""

from __future__ import annotations

import logging

import numpy as np
from onnx import NodeProto, TensorProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import DOMAIN
from custom_ops.datatypes import accumulator_range, integer_datatype
from passes.graph import Graph, attribute

log = logging.getLogger(__name__)
Range = tuple[int, int]
OF_TYPE: dict[int, Range] = {TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255)}
SHORT = 6  # bits up to which codes get a datatype of their own; wider ones are bytes
SAME = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast")


class MinimizeWidths(Transformation):
    """Notes INTn or UINTn: of weights their values' n, of codes that of lo..hi or of the table, of accumulators that of every partial sum.

    acc = sum of w * x: between the sums of min(w * low, w * high) and of max(w * low, w * high) for x in low..high. Values do not change.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        ranges: dict[str, Range] = {}
        for node in graph.proto.node:
            if node.op_type == "MatMulInteger":
                self._weights(graph, node)
            found = _range(graph, node, ranges)
            if found is None:
                continue
            low, high = found
            ranges[node.output[0]] = found
            datatype = integer_datatype(low, high)
            wide = graph.element_type(node.output[0]) == TensorProto.INT32
            if low >= -(2**31) and high < 2**31 and (wide or datatype.bitwidth() <= SHORT):
                model.set_tensor_datatype(node.output[0], datatype)
                log.info("%s: %s", node.output[0], datatype.name)
        return model, False

    @staticmethod
    def _weights(graph: Graph, node: NodeProto) -> None:
        for tensor in node.input[:2]:
            weight = graph.constant(tensor)
            if weight is not None and weight.size:
                graph.model.set_tensor_datatype(tensor, integer_datatype(int(min(weight.min(), 0)) or -1, int(weight.max())))


def _range(graph: Graph, node: NodeProto, ranges: dict[str, Range]) -> Range | None:
    """Least and greatest value of a node's result, or None where it is not known."""
    given = [_known(graph, i, ranges) for i in node.input[:2]]
    if node.domain == DOMAIN and node.op_type == "Requant":
        return int(attribute(node, "lo", -128)), int(attribute(node, "hi", 127))  # type: ignore[call-overload]
    if node.domain == DOMAIN and node.op_type == "ChannelLUT":
        return _values(graph, node.input[1])
    if node.op_type == "QuantizeLinear":
        return OF_TYPE.get(graph.element_type(node.output[0]))
    if node.domain or not given or given[0] is None:
        return None
    if node.op_type == "Clip":
        limits = [_values(graph, i) for i in node.input[1:3]]
        least, most = given[0]
        low, high = (d if v is None else v[0] for v, d in zip((*limits, None, None), (least, most)))
        return min(max(least, low), high), max(min(most, high), low)
    if node.op_type in SAME:
        return given[0]
    if node.op_type == "ReduceSum":
        axes, shape = graph.constant(node.input[1]), graph.shape(node.input[0])
        count = int(np.prod([shape[int(a)] for a in axes.ravel()])) if axes is not None else 0
        return (min(given[0][0] * count, 0), max(given[0][1] * count, 0)) if count else None
    if len(given) < 2 or given[1] is None:
        return None
    (a, b), (c, d) = given[0], given[1]
    if node.op_type == "Add":
        return a + c, b + d
    if node.op_type == "Mul":
        products = (a * c, a * d, b * c, b * d)
        return min(products), max(products)
    return _product(graph, node, ranges) if node.op_type == "MatMulInteger" else None


def _product(graph: Graph, node: NodeProto, ranges: dict[str, Range]) -> Range | None:
    left, right = (graph.constant(i) for i in node.input[:2])
    weight, source = (right.T, node.input[0]) if right is not None else (left, node.input[1])
    known = _known(graph, source, ranges)
    if weight is None or known is None or weight.ndim != 2 or any(node.input[2:]):
        return None
    low, high = known
    return accumulator_range(weight, 0, min(low, 0), max(high, 0))


def _known(graph: Graph, tensor: str, ranges: dict[str, Range]) -> Range | None:
    if graph.constant(tensor) is not None:
        return _values(graph, tensor)
    return ranges.get(tensor) or OF_TYPE.get(graph.element_type(tensor))


def _values(graph: Graph, tensor: str) -> Range | None:
    value = graph.constant(tensor) if tensor else None
    return None if value is None or not value.size or value.dtype.kind not in "iu" else (int(value.min()), int(value.max()))
