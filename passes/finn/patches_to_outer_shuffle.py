"""Raster order to patches as a permutation of whole rows of a patch."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from passes.finn.nodes import datatype, finn_node, stream_shape
from passes.graph import Graph, Rewrite, attribute


class PatchesToOuterShuffle(Rewrite):
    """Patches(x; p) -> OuterShuffle(x as [H/p, p, W/p, p*F]; 0 2 1 3): the innermost axis, a patch's row, stays in place."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Patches" or node.domain != HW_DOMAIN:
            return False
        source, target, p = node.input[0], node.output[0], int(attribute(node, "patch", 4))  # type: ignore[call-overload]
        _, height, width, features = graph.shape(source)
        row = p * features
        across, down = width // p, height // p
        graph.replace([node], [finn_node(
            "OuterShuffle", [source], [target], node.name, data_type=datatype(graph, source).name, SIMD=1, NumChannels=row,
            in_shape=stream_shape(graph.shape(source)), transpose_in_shape=[down, p, across, row], perm=[0, 2, 1, 3],
            transpose_out_shape=[down, across, p, row], out_shape=stream_shape(graph.shape(target)),
            loop_coeffs=[p * across * row, row, across * row, 1],
        )])  # fmt: skip
        return True
