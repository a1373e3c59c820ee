"""The form in which FINN takes a graph: one image, float32 tensors that carry integers, shapes of streams."""

from __future__ import annotations

from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import DOMAINS
from passes.finn.nodes import DOMAIN, stream_shape
from passes.graph import Graph, PassRefusal


class FinnLayout(Transformation):
    """x int8 [N, T, C] -> x float32 [1, T, 1, C] with datatype INT8, for every stream; refuses a node that is not FINN's."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in graph.proto.node:
            if node.domain != DOMAIN:
                raise PassRefusal(f"{node.op_type} {node.name}: has no form in FINN")
        shapes = {v.name: stream_shape(graph.shape(v.name)) for v in (*graph.proto.value_info, *graph.proto.input, *graph.proto.output)}
        for field in (graph.proto.value_info, graph.proto.input, graph.proto.output):
            for value in field:
                value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shapes[value.name]))
        del model.model.functions[:]
        kept = [entry for entry in model.model.opset_import if entry.domain not in {*DOMAINS, DOMAIN}]
        del model.model.opset_import[:]
        model.model.opset_import.extend([*kept, helper.make_opsetid(DOMAIN, 1)])
        return model, False
