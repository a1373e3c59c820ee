"""A float ResMLP as the ONNX graph that onnxruntime runs fastest, and that graph quantized by onnxruntime itself."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from custom_ops import DOMAIN, add_functions
from train.functions import PSA, BSpline, LerpPSA
from train.resmlp import AbsorbedBlock, AbsorbedResMLP, Affine

OPSET, IR = 18, 10
log = logging.getLogger(__name__)


def float_graph(model: AbsorbedResMLP) -> ModelProto:
    """uint8 pixels [N, H, W, 3] -> float32 logits [N, classes]: what `model` computes, sums in another order.

    Normalisation is part of the first layer; the affines around a token mixer are one product per channel and one
    sum; linear layers along channels are Gemm on [N * T, C], with which onnxruntime fuses a ReLU. The one transpose left
    is that of the patches.
    """
    a = model.architecture
    graph = _Graph()
    side, tokens = a.image // a.patch, a.tokens
    gain = np.tile(_array(model.normalise.gain), a.patch**2)
    offset = np.tile(_array(model.normalise.offset), a.patch**2)
    weight, bias = _array(model.embed.weight), _array(model.embed.bias)
    x = graph.node("Cast", ["pixels"], to=TensorProto.FLOAT)
    x = graph.reshape(x, -1, side, a.patch, side, a.patch, 3)
    x = graph.reshape(graph.node("Transpose", [x], perm=[0, 1, 3, 2, 4, 5]), -1, a.patch_features)
    x = graph.gemm(x, weight * gain, bias + weight @ offset)
    for module in model.blocks:
        block = cast(AbsorbedBlock, module)
        x = _mix(graph, block, graph.reshape(x, -1, tokens, a.embed))
        flat = graph.reshape(x, -1, a.embed)
        hidden = flat
        if isinstance(block.channel_in, Affine):
            hidden = graph.node("Mul", [hidden, graph.constant(_array(block.channel_in.weight))])
            hidden = graph.node("Add", [hidden, graph.constant(_array(block.channel_in.bias))])
        hidden = graph.gemm(graph.function(block.act1, hidden), _array(block.fc1.weight), _array(block.fc1.bias))
        hidden = graph.gemm(graph.function(block.act2, hidden), _array(block.fc2.weight), _array(block.fc2.bias))
        x = graph.node("Add", [flat, hidden])
    x = graph.node("ReduceMean", [graph.reshape(x, -1, tokens, a.embed), graph.constant(np.array([1]))], keepdims=0)
    graph.gemm(x, _array(model.head.weight), _array(model.head.bias), name="logits")
    return graph.model(a.image, a.classes)


def _mix(graph: _Graph, block: AbsorbedBlock, x: str) -> str:
    """x + out(W in(x) + b) = x + (W x) * gain + shift, gain [C] and shift [T, C]."""
    weight, bias = _array(block.token_linear.weight), _array(block.token_linear.bias)
    in_weight, in_bias = _array(block.token_in.weight), _array(block.token_in.bias)
    out_weight, out_bias = _array(block.token_out.weight), _array(block.token_out.bias)
    shift = (weight.sum(1)[:, None] * in_bias + bias[:, None]) * out_weight + out_bias
    mixed = graph.node("MatMul", [graph.constant(weight), x])
    branch = graph.node("Mul", [mixed, graph.constant(in_weight * out_weight)])
    return graph.node("Add", [x, graph.node("Add", [branch, graph.constant(shift)])])


class _Graph:
    """Nodes and constants under construction; a method appends nodes and returns the last one's result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        value = value.astype(np.float32) if value.dtype.kind == "f" else value.astype(np.int64)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, op: str, inputs: list[str], name: str = "", domain: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", [x, self.constant(np.array(shape))])

    def gemm(self, x: str, weight: np.ndarray, bias: np.ndarray, name: str = "") -> str:
        return self.node("Gemm", [x, self.constant(weight.T), self.constant(bias)], name)

    def function(self, module: nn.Module, x: str) -> str:
        """An activation, as the op that computes it fastest."""
        if isinstance(module, nn.ReLU):
            return self.node("Relu", [x])
        if isinstance(module, LerpPSA | BSpline):
            table = self.constant(_array(module.full_table()))
            return self.node("GridLerp", [x, table], domain=DOMAIN, bound=float(module.bound), residual=0)
        if isinstance(module, PSA):
            parameters = [self.constant(_array(p)) for p in (module.q_w, module.q_b, module.v, module.o_w, module.o_b)]
            return self.node("PSA", [x, *parameters], domain=DOMAIN, epsilon=module.epsilon, residual=int(module.residual))
        return x  # Identity

    def model(self, image: int, classes: int) -> ModelProto:
        graph = helper.make_graph(
            self.nodes, "resmlp", [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", image, image, 3])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])], self.constants,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="psaflow")
        onnx.checker.check_model(add_functions(model))
        return model


def _array(tensor: Tensor | nn.Module) -> np.ndarray:
    """In float64, so that folding rounds once."""
    return cast(Tensor, tensor).detach().cpu().double().numpy()


def quantized_by_onnxruntime(model: ModelProto, images: np.ndarray) -> ModelProto:
    """`model` after onnxruntime's static quantization: uint8 activations, int8 weights per channel, QDQ form.

    Calibrated on uint8 images [n, H, W, 3].
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [images[i : i + 64] for i in range(0, len(images), 64)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"pixels": self.left.pop()} if self.left else None

    logging.getLogger().addFilter(_no_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, before)
            quantize_static(before, after, Batches(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                            weight_type=QuantType.QInt8, per_channel=True)  # fmt: skip
            return onnx.load(after)
    finally:
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    """onnxruntime advises, through the root logger, to preprocess models: this graph needs none of it."""
    return "pre-processing" not in record.getMessage()
