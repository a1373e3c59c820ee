"""Requantizations of int8 tensors as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from custom_ops import DOMAIN
from custom_ops.requant import requant
from passes.fuse_linear import constant_parameters
from passes.graph import Graph, Rewrite, attribute
from passes.infer_mat_vec import requant_options

CODES = np.arange(-128, 128).astype(np.int8)


class TabulateRequant(Rewrite):
    """Requant(x; axis = -1) -> ChannelLUT(x, [Requant(-128), ..., Requant(127)]), x int8: its function of 256 codes.

    Where the number of x's channels, hence of tables, is not known, it stays as it is.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Requant" or attribute(node, "axis", -1) != -1 or graph.element_type(node.input[0]) != TensorProto.INT8:
            return False
        channels = (graph.dims(node.input[0]) or [""])[-1]
        if not isinstance(channels, int) or not constant_parameters(graph, node, channels):
            return False
        options: dict[str, Any] = requant_options(node)
        parameters = [graph.constant(i) for i in node.input[1:4]]
        table = requant(np.repeat(CODES[:, None], channels, 1), *parameters, **options).T
        name = graph.add_constant(f"{node.output[0]}_table", np.ascontiguousarray(table))
        graph.replace([node], [helper.make_node("ChannelLUT", [node.input[0], name], list(node.output), name=node.name, domain=DOMAIN,
                                                rounding=options["rounding"], lowest=-128)])  # fmt: skip
        return True
