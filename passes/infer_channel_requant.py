"""Per-channel affines as hardware nodes."""

from __future__ import annotations

from onnx import NodeProto, TensorProto, helper

from custom_ops import DOMAIN, HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite, attribute
from passes.infer_mat_vec import requant_options, spread


class InferChannelRequant(Rewrite):
    """Requant(x, mult, bias, shift) of an int8 activation along channels -> ChannelRequant with all parameters [C]."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Requant" or node.domain != DOMAIN or graph.element_type(node.input[0]) != TensorProto.INT8:
            return False
        if attribute(node, "axis", -1) != -1:
            raise PassRefusal(f"{node.name}: an affine along axis {attribute(node, 'axis')}; supported is along channels (-1)")
        values = [graph.constant(i) for i in node.input[1:4]]
        if any(v is None for v in values):
            raise PassRefusal(f"{node.name}: its parameters are no constants")
        channels = graph.shape(node.input[0])[-1]
        names = [graph.add_constant(f"{node.name}_{role}_per_channel", spread(value, channels))
                 for role, value in zip(("mult", "bias", "shift"), values, strict=True) if value is not None]  # fmt: skip
        graph.replace([node], [helper.make_node("ChannelRequant", [node.input[0], *names], list(node.output), name=node.name,
                                                domain=HW_DOMAIN, **requant_options(node))])  # fmt: skip
        return True
