"""Where a network is one tensor wide."""

from __future__ import annotations

from passes.graph import Graph, reads


def cut_tensors(graph: Graph) -> list[str]:
    """The tensors, in order, that all that goes from the input to the output passes through: residual sums, not their branches."""
    readers = {t: len(graph.consumers(t)) + (t in graph.outputs) for n in graph.proto.node for t in n.output}
    alive: set[str] = {i.name for i in graph.proto.input if graph.constant(i.name) is None}
    readers |= {t: len(graph.consumers(t)) for t in alive}
    found: list[str] = []
    for node in graph.proto.node:
        for tensor in alive.intersection(reads(node)):
            readers[tensor] -= 1
        alive = {t for t in alive if readers[t]} | {t for t in node.output if readers[t]}
        if len(alive) == 1:
            found += alive
    return found
