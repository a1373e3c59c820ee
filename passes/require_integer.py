"""The gate behind the integer stage: nothing float is left, and what is left is named with its reason."""

from __future__ import annotations

from onnx import NodeProto, TensorProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.graph import Graph, PassRefusal, attribute

INTEGER_OPS = {
    ("psaflow", "ChannelLUT"), ("psaflow", "Requant"), ("", "MatMulInteger"), ("", "Reshape"), ("", "Transpose"),
    ("", "Cast"), ("", "Mul"), ("", "Add"), ("", "ReduceSum"), ("", "Squeeze"), ("", "Unsqueeze"), ("", "Flatten"), ("", "Identity"),
    ("", "Clip"),
}  # fmt: skip
INTEGER_TYPES = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64)
SUPPORTED = "linear layers, residual sums, a mean over tokens, changes of layout, and per-channel functions between two quantizers"


class RequireInteger(Transformation):
    """Changes nothing; refuses a graph in which a float op is left, naming the first one and why no pass took it.

    A graph whose input is float has one such op at the door: the QuantizeLinear of the input itself.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in graph.proto.node:
            if at_the_door(graph, node):
                continue
            if (node.domain, node.op_type) not in INTEGER_OPS or self._makes_float(graph, node):
                raise PassRefusal(self._reason(graph, node))
        for output in graph.proto.output:
            if output.type.tensor_type.elem_type not in INTEGER_TYPES:
                raise PassRefusal(f"{output.name}: the output is still float; end the network in one quantized linear layer")
        return model, False

    @staticmethod
    def _makes_float(graph: Graph, node: NodeProto) -> bool:
        if node.op_type == "Cast":
            return attribute(node, "to") not in INTEGER_TYPES
        constants = [graph.constant(i) for i in node.input]
        return any(c is not None and c.dtype.kind == "f" for c in constants)

    @staticmethod
    def _reason(graph: Graph, node: NodeProto) -> str:
        where = f"{node.op_type} {node.name or node.output[0]}"
        if node.op_type == "MatMul":
            for tensor in node.input:
                constant = graph.constant(tensor)
                if constant is not None and constant.dtype.kind == "f":
                    return f"{where}: float weights without a quantizer ({tensor}); train it in a stage of `kind: quantized`"
            return f"{where}: an input has no quantizer before it, or its result none behind it; put one there"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            users = [graph.producer(node.input[0])] if node.op_type == "QuantizeLinear" else graph.consumers(node.output[0])
            around = next(iter(users), None)
            if around is not None and around.op_type == "MatMul":
                return RequireInteger._reason(graph, around)
            other = f"{around.op_type} {around.name or around.output[0]}" if around is not None else "the graph's end"
            return f"{other}: no integer form for it at {where}; supported: {SUPPORTED}"
        kinds = ", ".join(_kind(graph, i) for i in node.input if i)
        return f"{where} of {kinds}: unsupported; supported: {SUPPORTED}"


def at_the_door(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is the QuantizeLinear of a float input of the graph."""
    return node.op_type == "QuantizeLinear" and not node.domain and node.input[0] in {i.name for i in graph.proto.input}


def _kind(graph: Graph, tensor: str) -> str:
    """`float32 [N, 64, 96]`."""
    constant = graph.constant(tensor)
    if constant is not None:
        return f"{constant.dtype} {list(constant.shape)}"
    for value in (*graph.proto.value_info, *graph.proto.input):
        if value.name == tensor:
            dims = [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]
            return f"{TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()} [{', '.join(map(str, dims))}]"
    return "unknown type"
