"""What the hardware passes share: a node's HwNode, read from the graph with its constants and shapes."""

from __future__ import annotations

from onnx import NodeProto, TensorProto

from custom_ops import HW_DOMAIN
from custom_ops.hw import FoldingError, HwNode, hardware_node
from passes.graph import Graph, PassRefusal, set_attribute


def hardware_nodes(graph: Graph) -> list[NodeProto]:
    """The hardware nodes in order."""
    return [n for n in graph.proto.node if n.domain == HW_DOMAIN]


def plan(graph: Graph, node: NodeProto) -> HwNode:
    """The validated HwNode of a node; a refusal where its folding does not fit."""
    constants = {i: c for i in node.input if (c := graph.constant(i)) is not None}
    shapes = {i: graph.shape(i) for i in node.input}
    bits = {i: 32 for i in node.input if graph.element_type(i) == TensorProto.INT32}
    try:
        return hardware_node(node, constants, shapes, bits)
    except FoldingError as error:
        raise PassRefusal(str(error)) from None


def set_folding(node: NodeProto, **values: int) -> None:
    """Set integer attributes of a node."""
    for name, value in values.items():
        set_attribute(node, name, value)
