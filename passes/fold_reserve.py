"""What later passes add to a folded graph, before they do: FIFOs and width converters."""

from __future__ import annotations

import math

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from custom_ops.hw.cost import NOTHING, Part, Usage, usage
from custom_ops.hw.fifo import fifo_parts
from passes.graph import Graph
from passes.hardware import hardware_nodes, plan


def reserve(graph: Graph, family: str) -> Usage:
    """FIFOs where two branches of a fork meet, as deep as the longer branch delays: a matrix unit by a token, a token mixer by an image;
    and a converter wherever two nodes' links differ in width. SizeFifos finds the exact depths, which are no larger."""
    total = NOTHING
    for node in hardware_nodes(graph):
        planned = plan(graph, node)
        for tensor, given in zip(node.output, planned.out_lanes, strict=True):
            user = graph.only_consumer(tensor)
            if user is None or user.domain != HW_DOMAIN:
                continue
            wanted = plan(graph, user).in_lanes[list(user.input).index(tensor)]
            if wanted != given:
                wide = max(wanted, given)
                total += usage([Part("skid", 1, (wide * planned.out_bits + 1,)), Part("counter", 1, (wide,))], (), (), family)
        delays = [_delay(graph, tensor) for tensor in node.input[: len(planned.in_lanes)]]
        if len(delays) == 2:
            lanes = planned.in_lanes[0]
            parts, memories = fifo_parts(max(math.ceil(abs(delays[0] - delays[1]) / lanes), 1), 8 * lanes + 1)
            total += usage(parts, memories, (), family)
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
