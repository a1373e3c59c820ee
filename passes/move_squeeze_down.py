"""The token axis of the classifier's input is dropped behind the classifier."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, Rewrite


class MoveSqueezeDown(Rewrite):
    """MatVec(Squeeze(x), ...) -> Squeeze(MatVec(x, ...)), so that every stream is [N, tokens, channels]."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatVec" or node.domain != HW_DOMAIN:
            return False
        squeeze = graph.producer(node.input[0], "Squeeze")
        if squeeze is None:
            return False
        inner = graph.new_name(f"{node.output[0]}_token")
        unit = NodeProto.FromString(node.SerializeToString())
        unit.input[0], unit.output[0] = squeeze.input[0], inner
        after = helper.make_node("Squeeze", [inner, squeeze.input[1]], list(node.output), name=f"{node.name}_squeeze")
        graph.replace([node], [unit, after])
        return True
