"""The classifier's accumulator as the graph's output."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, PassRefusal, Rewrite, set_metadata
from passes.matmul_to_integer import check_axis, read_linear
from passes.quantized import bias_codes

SCALE = "logits_scale"  # key of the model's metadata: what one unit of the integer logits is worth


class LogitsToInteger(Rewrite):
    """output = DQ(x) @ DQ(W) + DQ(b), one scale for all classes -> int32 MatMulInteger(x, W) + b; s_x * s_w to the metadata."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        tensor = node.output[0]
        found = read_linear(graph, tensor) if node.op_type in ("MatMul", "Add") and tensor in graph.outputs else None
        if found is None:
            return False
        nodes, x, weight, bias, on_left = found
        assert weight.value is not None
        if on_left:
            raise PassRefusal(f"{node.name}: the classifier's weights must be on the right")
        check_axis(weight, 1, node.name)
        scale = np.unique(x.scale.ravel() * weight.scale.ravel())
        if scale.size != 1:
            raise PassRefusal(f"{node.name}: {scale.size} weight scales in the classifier; the largest integer is the largest logit "
                              "only with one, quantize it per tensor")  # fmt: skip
        codes = bias_codes(bias, scale, weight.value.shape[1], node.name)
        accumulator = graph.new_name(f"{tensor}_accumulator")
        matrix = graph.add_constant(f"{tensor}_weight_int8", weight.value)
        offset = graph.add_constant(f"{tensor}_bias_int32", codes)
        graph.replace(nodes, [
            helper.make_node("MatMulInteger", [x.tensor, matrix], [accumulator], name=f"{tensor}_matmul"),
            helper.make_node("Add", [accumulator, offset], [tensor], name=f"{tensor}_add"),
        ])  # fmt: skip
        for output in graph.proto.output:
            if output.name == tensor:
                output.type.tensor_type.elem_type = TensorProto.INT32
        set_metadata(graph.model.model, SCALE, repr(float(scale[0])))
        return True
