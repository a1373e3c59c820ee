"""What later passes add to a folded graph, before they do: FIFOs and width converters."""

from __future__ import annotations

import math

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from custom_ops.hw.cost import NOTHING, Memory, Part, Usage, output, usage
from passes.graph import Graph
from passes.hardware import hardware_nodes, plan

SMALL = 64  # beats of a FIFO without block memory


def reserve(graph: Graph, family: str) -> Usage:
    """FIFOs where two branches of a fork meet, as deep as the longer branch delays: a matrix unit by a token, a token mixer by an image;
    and a converter wherever two nodes' links differ in width. SizeFifos finds the exact depths, which are no larger."""
    total = NOTHING
    for node in hardware_nodes(graph):
        planned = plan(graph, node)
        for tensor, lanes, bits in zip(node.output, planned.out_lanes, [planned.out_bits] * len(node.output), strict=True):
            user = graph.only_consumer(tensor)
            if user is None or user.domain != HW_DOMAIN:
                continue
            wanted = plan(graph, user).in_lanes[list(user.input).index(tensor)]
            if wanted != lanes:
                wide = max(wanted, lanes)
                total += usage([Part("skid", 1, (wide * bits + 1,)), Part("counter", 1, (wide,))], (), (), family)
        delays = [_delay(graph, tensor) for tensor, _ in zip(node.input, planned.in_lanes, strict=False)]
        if len(delays) == 2:
            total += _fifo(math.ceil(abs(delays[0] - delays[1]) / planned.in_lanes[0]), 8 * planned.in_lanes[0] + 1, family)
    return total


def _delay(graph: Graph, tensor: str) -> int:
    """Elements that enter the branch that ends in `tensor` before its first one leaves, counted from the fork above."""
    total = 0
    node: NodeProto | None = graph.producer(tensor)
    while node is not None and node.domain == HW_DOMAIN and node.op_type not in ("Fork", "ResidualAdd"):
        shape = graph.shape(node.input[0])[1:]
        if node.op_type == "MatVec":
            total += shape[-1]
        elif node.op_type == "TokenMix":
            total += math.prod(shape)
        node = graph.producer(node.input[0])
    return total


def _fifo(depth: int, width: int, family: str) -> Usage:
    if depth <= SMALL:
        return usage([output(1, 1, width, max(depth, 1))], (), (), family)
    counters = [Part("counter", 2, (depth,)), Part("adder", 1, (depth.bit_length(),))]
    return usage([output(1, 1, width), *counters], [Memory("beats", depth, width, rom=False)], (), family)
