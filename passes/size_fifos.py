"""FIFOs on the short branch of every residual, as deep as the long branch's delay."""

from __future__ import annotations

import logging
import math

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite
from passes.hardware import plan

log = logging.getLogger(__name__)
SLACK = 32  # elements; covers the registers of the units on the long branch
BLOCK = 2048  # bytes in one block memory of 18 kbit
SMALL = 64  # beats that a FIFO in distributed memory holds cheaply


class SizeFifos(Rewrite):
    """ResidualAdd(long(a), b) of a, b = Fork(x) -> ResidualAdd(long(a), Fifo(b)).

    Depth in elements: a matrix unit on the long branch answers one token late, a token mixer one image late; the sum of
    those plus SLACK is what the other branch must hold for the streams never to wait. A depth just above whole block
    memories is split into two FIFOs, so that the rest does not cost one more block.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "ResidualAdd" or node.domain != HW_DOMAIN:
            return False
        paths = [_to_fork(graph, tensor) for tensor in node.input]
        if any(p is None for p in paths) or any(n.op_type == "Fifo" for p in paths if p is not None for n in p[1]):
            return False
        (fork_a, long), (fork_b, short) = paths  # type: ignore[misc]
        at = 1
        if _delay(graph, long) < _delay(graph, short):
            long, short, at = short, long, 0
        if fork_a.name != fork_b.name:
            raise PassRefusal(f"{node.name}: its operands come from different forks, {fork_a.name} and {fork_b.name}")
        lanes = plan(graph, node).in_lanes[at]
        depth = math.ceil((_delay(graph, long) - _delay(graph, short) + SLACK) / lanes)
        tensor = node.input[at]
        new = []
        for part in _split(depth, lanes):
            behind = graph.new_name(f"{tensor}_fifo")
            graph.copy_type(node.input[at], behind)
            new.append(helper.make_node("Fifo", [tensor], [behind], name=graph.new_name(behind), domain=HW_DOMAIN, PE=lanes, depth=part))
            graph.proto.node.insert([id(n) for n in graph.proto.node].index(id(node)), new[-1])
            tensor = behind
            graph.reindex()
        node.input[at] = tensor
        log.info("%s: FIFO of %d beats", node.name, depth)
        return True


def _to_fork(graph: Graph, tensor: str) -> tuple[NodeProto, list[NodeProto]] | None:
    """(the Fork above `tensor`, the nodes between)."""
    between: list[NodeProto] = []
    while True:
        node = graph.producer(tensor)
        if node is None or node.domain != HW_DOMAIN or node.op_type == "ResidualAdd":
            return None
        if node.op_type == "Fork":
            return node, between
        between.append(node)
        tensor = node.input[0]


def _delay(graph: Graph, nodes: list[NodeProto]) -> int:
    """Elements of the forked stream that enter the branch before its first result leaves it, registers aside."""
    total = 0
    for node in nodes:
        if node.op_type == "MatVec":
            total += graph.shape(node.input[0])[-1]
        elif node.op_type == "TokenMix":
            total += math.prod(graph.shape(node.input[0])[1:])
    return total


def _split(depth: int, lanes: int) -> list[int]:
    """Depths in beats: whole block memories and a small rest, or one FIFO."""
    blocks = depth * lanes // BLOCK * BLOCK // lanes
    rest = depth - blocks
    return [blocks, rest] if blocks and 0 < rest <= SMALL else [depth]
