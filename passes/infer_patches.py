"""The change of layout from raster order to patches as one hardware node."""

from __future__ import annotations

from typing import NamedTuple

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite, attribute


class Found(NamedTuple):
    """The three nodes that cut images into patches of `size` x `size` pixels, in their order."""

    nodes: tuple[NodeProto, NodeProto, NodeProto]
    size: int


class InferPatches(Rewrite):
    """Reshape(Transpose(Reshape(x, [N, h, p, w, p, F]), [0, 1, 3, 2, 4, 5]), [N, h*w, p*p*F]) -> Patches(x; p)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        found = find_patches(graph, node)
        if found is None:
            return False
        name = graph.new_name("input_patches")
        graph.replace(found.nodes, [
            helper.make_node("Patches", [found.nodes[0].input[0]], list(node.output), name=name, domain=HW_DOMAIN, patch=found.size)
        ])  # fmt: skip
        return True


def find_patches(graph: Graph, last: NodeProto | None) -> Found | None:
    """The nodes of the equation above that end in `last`, if they are there."""
    if last is None or last.op_type != "Reshape":
        return None
    transpose = graph.producer(last.input[0], "Transpose")
    split = graph.producer(transpose.input[0], "Reshape") if transpose is not None else None
    if split is None or transpose is None or attribute(transpose, "perm") != [0, 1, 3, 2, 4, 5]:
        return None
    image, parts, tokens = (_inner_dims(graph, t) for t in (split.input[0], split.output[0], last.output[0]))
    if len(image) != 3 or len(parts) != 5 or parts[1] != parts[3]:
        return None
    height, width, features = image
    size = parts[1]
    expected = [height // size, size, width // size, size, features]
    if parts != expected or tokens != [parts[0] * parts[2], size * size * features]:
        return None
    return Found((split, transpose, last), size)


def _inner_dims(graph: Graph, tensor: str) -> list[int]:
    """Dimensions of a tensor but the first; [] where one of them is not known, or 0."""
    dims = (graph.dims(tensor) or [])[1:]
    known = [d for d in dims if isinstance(d, int) and d > 0]
    return known if len(known) == len(dims) else []
