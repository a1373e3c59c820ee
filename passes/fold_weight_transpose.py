"""A transposed weight is stored transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, Rewrite, attribute


class FoldWeightTranspose(Rewrite):
    """Transpose(W) -> W^T and Transpose(Quant(W, s)) -> Quant(W^T, s^T), for constant W and s."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Transpose":
            return False
        permutation: Any = attribute(node, "perm")
        folded = graph.map_parameter(node.input[0], lambda v: np.transpose(v, permutation))
        if folded is None:
            return False
        graph.rewire(node.output[0], folded)
        return True
