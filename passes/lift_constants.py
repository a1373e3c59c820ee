"""Constants as initializers, which is where the other passes look for them."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, Rewrite


class LiftConstants(Rewrite):
    """Constant() -> an initializer of the same name."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        value = graph.constant(node.output[0]) if node.op_type == "Constant" else None
        if value is None:
            return False
        name = node.output[0]
        graph.proto.node.remove(node)
        graph.reindex()
        graph.add_constant(name, np.asarray(value))
        return True
