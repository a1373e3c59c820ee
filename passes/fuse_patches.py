"""A network's first layer as one node on the image's bytes."""

from __future__ import annotations

from onnx import NodeProto, TensorProto, helper

from custom_ops import DOMAIN
from passes.fuse_linear import given
from passes.fuse_table_behind import is_full
from passes.graph import Graph, Rewrite
from passes.infer_mat_vec import requant_options
from passes.infer_patches import find_patches


class FusePatches(Rewrite):
    """Linear(Patches(ChannelLUT(pixels, t))) -> PatchLinear(pixels, t), Patches being Reshape, Transpose, Reshape.

    Only where nothing else reads what lies between, and for a Linear without table_in and skip.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Linear" or node.domain != DOMAIN or given(node, "table_in") or given(node, "skip"):
            return False
        found = find_patches(graph, graph.producer(node.input[0], "Reshape"))
        if found is None or not all(graph.used_once(n.output[0]) for n in found.nodes):
            return False
        table = graph.producer(found.nodes[0].input[0], "ChannelLUT")
        if table is None or not is_full(graph, table) or not graph.used_once(table.output[0]):
            return False
        if graph.element_type(table.input[0]) != TensorProto.UINT8:
            return False
        table_out = given(node, "table_out")
        inputs = [*table.input[:2], *node.input[1:5], *([table_out] if table_out else [])]
        fused = helper.make_node("PatchLinear", inputs, list(node.output), name=node.name, domain=DOMAIN, patch=found.size,
                                 **requant_options(node))  # fmt: skip
        graph.replace([table, *found.nodes, node], [fused])
        return True
