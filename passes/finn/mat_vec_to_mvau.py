"""Linear layers along channels in FINN."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType

from custom_ops import HW_DOMAIN
from custom_ops.datatypes import integer_datatype
from passes.finn.nodes import accumulator, datatype, finn_node, new_constant, new_stream, psa_requant, vectors
from passes.graph import Graph, PassRefusal, Rewrite

LEAST_SUM = "INT16"  # FINN's RTL unit refuses an accumulator that is narrower than one product


class MatVecToMVAU(Rewrite):
    """MatVec(x, W, b, shift) -> PSARequant(MVAU(x, W^T), b, shift); MatVec(x, W, b) -> ElementwiseAdd(MVAU(x, W^T), b).

    FINN's MVAU has no bias; it gives the accumulator (noActivation), in as many bits as these weights need.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "MatVec" or node.domain != HW_DOMAIN:
            return False
        weight, bias = (graph.constant(i) for i in node.input[1:3])
        shift = graph.constant(node.input[3]) if len(node.input) > 3 else None
        if weight is None or bias is None or (shift is None and len(node.input) > 3):
            raise PassRefusal(f"{node.name}: its parameters are no constants")
        source, target = node.input[0], node.output[0]
        rows, columns = weight.shape
        sum_type = max(accumulator(node.name, weight), DataType[LEAST_SUM], key=lambda kind: kind.bitwidth())
        accumulated = new_stream(graph, f"{target}_accumulator", target, sum_type)
        matrix = new_constant(graph, f"{node.name}_matrix", weight.T.astype(np.float32), "INT8")
        unit = finn_node("MVAU", [source, matrix], [accumulated], f"{node.name}_mvau", MW=columns, MH=rows, SIMD=1, PE=1, noActivation=1,
                         inputDataType=datatype(graph, source).name, weightDataType="INT8", outputDataType=sum_type.name,
                         accDataType=sum_type.name, numInputVectors=vectors(graph, source))  # fmt: skip
        if shift is not None:
            after = psa_requant(graph, accumulated, target, node.name, bias, shift, node)
        else:
            after = self._add(graph, node, accumulated, weight, bias)
        graph.replace([node], [unit, after])
        return True

    @staticmethod
    def _add(graph: Graph, node: NodeProto, accumulated: str, weight: np.ndarray, bias: np.ndarray) -> NodeProto:
        target = node.output[0]
        kind = integer_datatype(min(int(bias.min()), -1), int(bias.max()))
        constant = new_constant(graph, f"{node.name}_bias", bias.astype(np.float32), kind.name)
        result = accumulator(node.name, weight, bias)
        graph.model.set_tensor_datatype(target, result)
        shape = [*vectors(graph, target), graph.shape(target)[-1]]
        return finn_node("ElementwiseAdd", [accumulated, constant], [target], node.name, PE=1, lhs_dtype=datatype(graph, accumulated).name,
                         rhs_dtype=kind.name, out_dtype=result.name, lhs_shape=shape, rhs_shape=[len(bias)], out_shape=shape,
                         rhs_style="const")  # fmt: skip
