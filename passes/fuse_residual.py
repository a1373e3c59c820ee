"""Residual sums as part of the layer that gives one operand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto

from custom_ops import DOMAIN
from custom_ops.layer import MOST_LEFT
from passes.fuse_linear import constant_parameters, given, with_inputs
from passes.fuse_table_behind import is_full
from passes.graph import Graph, Rewrite, attribute

LARGEST_FACTOR = 2**MOST_LEFT


class Term(NamedTuple):
    """Cast(tensor) * 2**left, `tensor` int8; `wide` is its int32 name in the graph."""

    tensor: str
    left: int
    wide: str


class FuseResidual(Rewrite):
    """Requant(Layer(x) * 2**i + s * 2**j; shift) -> Layer(x; skip = s, left = i, skip_left = j, right = shift).

    s may come through a full table, which becomes the layer's skip_table. What is no such sum stays as it is: a clip
    tighter than int8, another rounding than the layer's, a factor that is no power of two, operands that are not known
    to have the same shape.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        add = graph.producer(node.input[0], "Add") if node.op_type == "Requant" else None
        dims = graph.dims(node.output[0])
        if add is None or not graph.used_once(add.output[0]) or not dims or not constant_parameters(graph, node, dims[-1]):
            return False
        mult, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if np.any(bias != 0) or shift.size != 1 or np.any(mult != mult.ravel()[0]):  # type: ignore[union-attr]
            return False
        if (attribute(node, "lo", -128), attribute(node, "hi", 127)) != (-128, 127):
            return False
        extra = _exponent(mult)
        terms = [t for t in (_term(graph, i) for i in add.input) if t is not None]
        if extra is None or len(terms) != 2 or max(t.left for t in terms) + extra > MOST_LEFT:
            return False
        for own, skip in (terms, terms[::-1]):
            layer = graph.producer(own.tensor, "Linear", "TokenLinear")
            if layer is None or layer.domain != DOMAIN or given(layer, "skip") or not graph.used_once(own.tensor):
                continue
            if attribute(layer, "rounding", "HALF_EVEN") != attribute(node, "rounding", "HALF_EVEN"):
                continue
            if own.tensor == skip.tensor or "" in dims or not dims == graph.dims(own.tensor) == graph.dims(skip.tensor):
                continue
            roles = {"skip": skip.tensor}
            table = graph.producer(skip.tensor, "ChannelLUT")
            old = [layer, add, node]
            if table is not None and is_full(graph, table) and graph.used_once(table.output[0]) and _of_int8(graph, table):
                roles = {"skip": table.input[0], "skip_table": table.input[1]}
                old.append(table)
            new = with_inputs(layer, roles, node.output[0], node.name, left=own.left + extra, skip_left=skip.left + extra,
                              right=int(shift.ravel()[0]))  # type: ignore[union-attr]  # fmt: skip
            graph.replace(old, [new])
            return True
        return False


def _of_int8(graph: Graph, table: NodeProto) -> bool:
    return graph.element_type(table.input[0]) == TensorProto.INT8


def _exponent(factor: np.ndarray | None) -> int | None:
    """i of a constant 2**i in all elements; None for anything else."""
    if factor is None or factor.dtype.kind not in "iu" or not factor.size:
        return None
    value = int(factor.ravel()[0])
    if np.any(factor != value) or not 0 < value <= LARGEST_FACTOR or value & (value - 1):
        return None
    return value.bit_length() - 1


def _term(graph: Graph, tensor: str) -> Term | None:
    wide, left = tensor, 0
    product = graph.producer(tensor, "Mul")
    if product is not None:
        factor = graph.constant(product.input[1])
        exponent = _exponent(factor)
        if exponent is None or factor is None or factor.size != 1 or not graph.used_once(tensor):
            return None
        left, tensor = exponent, product.input[0]
    cast = graph.producer(tensor, "Cast")
    if cast is None or not graph.used_once(tensor) or attribute(cast, "to") != TensorProto.INT32:
        return None
    if graph.element_type(cast.input[0]) != TensorProto.INT8:
        return None
    return Term(cast.input[0], left, wide)
