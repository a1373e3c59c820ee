"""The mean over tokens in FINN."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType

from custom_ops import HW_DOMAIN
from passes.finn.nodes import datatype, finn_node, new_stream, psa_requant, vectors
from passes.graph import Graph, Rewrite, attribute


class TokenMeanToGlobalAccPool(Rewrite):
    """TokenMean(x; s) -> PSARequant(GlobalAccPool(x); s): the sum over all tokens, then one rounding."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "TokenMean" or node.domain != HW_DOMAIN:
            return False
        source, target = node.input[0], node.output[0]
        kind, tokens = datatype(graph, source), vectors(graph, source)
        total = new_stream(graph, f"{target}_total", target, DataType.get_smallest_possible(int(np.prod(tokens)) * int(kind.min())))
        shift = np.array([int(attribute(node, "shift", 0))])  # type: ignore[call-overload]
        pool = finn_node("GlobalAccPool", [source], [total], f"{node.name}_total", NumChannels=graph.shape(source)[-1], PE=1,
                         inputDataType=kind.name, numInputVectors=tokens)  # fmt: skip
        graph.replace([node], [pool, psa_requant(graph, total, target, node.name, np.zeros(1), shift, node)])
        return True
