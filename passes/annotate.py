"""Shapes on every tensor and QONNX datatypes on the integer ones, for readers of the file."""

from __future__ import annotations

import onnx
from onnx import ModelProto, TensorProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import add_functions
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from passes.graph import Graph

DATATYPES = {TensorProto.INT8: "INT8", TensorProto.UINT8: "UINT8", TensorProto.INT32: "INT32"}


class InferShapes(Transformation):
    """Shape and element type of every tensor, from onnx's inference through the function bodies."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        add_functions(model.model)
        del model.model.graph.value_info[:]
        inferred: ModelProto = onnx.shape_inference.infer_shapes(model.model, check_type=True, strict_mode=True, data_prop=True)
        model.model.graph.CopyFrom(inferred.graph)
        return model, False


class AnnotateDatatypes(Transformation):
    """The QONNX datatype of every integer tensor that has none yet: its element type, or INT8 for a Quant's output."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        named = {a.tensor_name for a in graph.proto.quantization_annotation}
        kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.proto.value_info, *graph.proto.input, *graph.proto.output)}
        kinds |= {i.name: i.data_type for i in graph.proto.initializer}
        for tensor, kind in kinds.items():
            if kind in DATATYPES and tensor not in named:
                model.set_tensor_datatype(tensor, DataType[DATATYPES[kind]])
        for node in graph.proto.node:
            bits = graph.constant(node.input[3]) if node.op_type == "Quant" and node.domain in QUANT_DOMAINS else None
            if bits is not None and node.output[0] not in named:
                model.set_tensor_datatype(node.output[0], DataType[f"SCALEDINT<{int(bits.ravel()[0])}>"])
        return model, False


class RemoveUnused(Transformation):
    """Nodes, constants and shape notes that nothing uses go."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        Graph(model).drop_unused()
        return model, False
