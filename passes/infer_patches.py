"""The change of layout from raster order to patches as one hardware node."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite, attribute


class InferPatches(Rewrite):
    """Reshape(Transpose(Reshape(x, [N, h, p, w, p, F]), [0, 1, 3, 2, 4, 5]), [N, h*w, p*p*F]) -> Patches(x; p)."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Reshape":
            return False
        transpose = graph.producer(node.input[0], "Transpose")
        split = graph.producer(transpose.input[0], "Reshape") if transpose is not None else None
        if split is None or transpose is None or attribute(transpose, "perm") != [0, 1, 3, 2, 4, 5]:
            return False
        image, parts, tokens = (graph.shape(t)[1:] for t in (split.input[0], split.output[0], node.output[0]))
        if len(image) != 3 or len(parts) != 5 or parts[1] != parts[3]:
            return False
        height, width, features = image
        size = parts[1]
        expected = [height // size, size, width // size, size, features]
        if parts != expected or tokens != [parts[0] * parts[2], size * size * features]:
            return False
        name = graph.new_name("input_patches")
        graph.replace([split, transpose, node], [
            helper.make_node("Patches", [split.input[0]], list(node.output), name=name, domain=HW_DOMAIN, patch=size)
        ])  # fmt: skip
        return True
