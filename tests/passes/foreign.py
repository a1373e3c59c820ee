"""Small networks as other tools write them: Brevitas through QONNX and QCDQ, onnxruntime's own quantizer. Seeded, not trained."""

from __future__ import annotations

import functools
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

FEATURES, CLASSES = 12, 5  # of the MLPs
TOKENS, CHANNELS = 8, 6  # of the mixer
OPSET = 18


def inputs(model: ModelProto, count: int, seed: int) -> np.ndarray:
    """float32 [count, ...] for a model's input: normal, some of them far outside of any quantizer's range, some 0."""
    rng = np.random.default_rng(seed)
    value = model.graph.input[0].type.tensor_type
    shape = [d.dim_value for d in value.shape.dim][1:]
    x = rng.normal(0, 1, (count, *shape)).astype(np.float32)
    x[rng.random(count) < 0.05] *= 100
    x[rng.random(count) < 0.02] = 0
    return x


@functools.cache
def brevitas_mlp(power_of_two: bool = True, bits: int = 4) -> ModelProto:
    """Linear, BatchNorm, ReLU, Linear with `bits`-bit weights and activations, exported by export_qonnx."""
    import brevitas.nn as qnn
    from torch import nn

    act, relu, weight, bias = _quantizers(power_of_two)
    return _exported("qonnx", lambda: nn.Sequential(
        qnn.QuantIdentity(act_quant=act, bit_width=bits, return_quant_tensor=True),
        qnn.QuantLinear(FEATURES, 16, bias=True, weight_quant=weight, weight_bit_width=bits, bias_quant=bias),
        _power_of_two_norm(16) if power_of_two else nn.BatchNorm1d(16),
        qnn.QuantReLU(act_quant=relu, bit_width=bits, return_quant_tensor=True),
        qnn.QuantLinear(16, CLASSES, bias=True, weight_quant=weight, weight_bit_width=bits, bias_quant=bias),
    ), (FEATURES,))  # fmt: skip


@functools.cache
def gelu_qcdq(opset: int = OPSET) -> ModelProto:
    """Linear, GELU, Linear with weights per channel, ReLU to uint8, Linear; 8 bits, one layer of 6: export_onnx_qcdq, float biases."""
    import brevitas.nn as qnn
    from brevitas.quant.scaled_int import Int8ActPerTensorFloat, Int8WeightPerChannelFloat
    from torch import nn

    return _exported("qcdq", lambda: nn.Sequential(
        qnn.QuantIdentity(return_quant_tensor=False),
        qnn.QuantLinear(FEATURES, 16, bias=True, output_quant=Int8ActPerTensorFloat),
        nn.GELU(),
        qnn.QuantIdentity(bit_width=6),
        qnn.QuantLinear(16, 10, bias=True, weight_quant=Int8WeightPerChannelFloat),
        qnn.QuantReLU(),
        nn.Dropout(),
        qnn.QuantLinear(10, CLASSES, bias=True),
    ), (FEATURES,), opset)  # fmt: skip


@functools.cache
def mixer(power_of_two: bool, form: str = "qonnx") -> ModelProto:
    """x [N, T, C]: tokens mixed, then channels, each Linear, SiLU, Linear and a residual sum; the mean over tokens, a classifier."""
    import brevitas.nn as qnn
    from torch import nn

    act, _, weight, bias = _quantizers(power_of_two)
    if form == "qcdq":
        bias = None  # Brevitas writes no quantized biases there

    def quantizer(return_quant_tensor: bool = True) -> nn.Module:
        return qnn.QuantIdentity(act_quant=act, return_quant_tensor=return_quant_tensor)

    def linear(inside: int, outside: int, **kinds: object) -> nn.Module:
        return qnn.QuantLinear(inside, outside, bias=True, weight_quant=weight, bias_quant=bias, **kinds)

    class Branch(nn.Module):
        def __init__(self, size: int, hidden: int) -> None:
            super().__init__()
            self.fc1 = linear(size, hidden, output_quant=act)
            self.silu, self.quant = nn.SiLU(), quantizer()
            self.fc2 = linear(hidden, size, output_quant=act)

        def forward(self, x):
            return _plain(self.fc2(self.quant(self.silu(_plain(self.fc1(x))))))

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs, self.tokens, self.channels = quantizer(), Branch(TOKENS, 10), Branch(CHANNELS, 12)
            self.sum1, self.sum2, self.mean = quantizer(), quantizer(), quantizer()
            self.head = linear(CHANNELS, CLASSES)

        def forward(self, x):
            x = self.inputs(x)
            x = self.sum1(_plain(x) + self.tokens(x.transpose(1, 2)).transpose(1, 2))
            x = self.sum2(_plain(x) + self.channels(x))
            return _plain(self.head(self.mean(_plain(x).mean(1))))

    return _exported(form, Mixer, (TOKENS, CHANNELS))


@functools.cache
def onnxruntime_mlp(symmetric: bool = False, per_channel: bool = False, unsigned: bool = False) -> ModelProto:
    """Linear, ReLU, Linear, Sigmoid, residual sum, Linear, quantized by onnxruntime's quantize_static; its default is asymmetric."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    model = _float_mlp()
    x = np.random.default_rng(1).normal(0, 1, (400, FEATURES)).astype(np.float32)

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [x[i : i + 50] for i in range(0, 400, 50)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"x": self.left.pop()} if self.left else None

    options = {"activation_type": QuantType.QUInt8} if unsigned else {}
    silent = logging.getLogger()
    before, silent.disabled = silent.disabled, True
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, source)
            quantize_static(source, target, Batches(), per_channel=per_channel,
                            extra_options={"ActivationSymmetric": True} if symmetric else {}, **options)  # fmt: skip
            return onnx.load(target)
    finally:
        silent.disabled = before


def _float_mlp() -> ModelProto:
    rng = np.random.default_rng(0)
    sizes = {"a": (FEATURES, 16), "b": (16, 16), "c": (16, CLASSES)}
    constants = [numpy_helper.from_array(v.astype(np.float32), name) for key, (i, o) in sizes.items()
                 for name, v in ((f"{key}_w", rng.normal(0, i**-0.5, (o, i))), (f"{key}_b", rng.normal(0, 0.3, o)))]  # fmt: skip
    gemm = functools.partial(helper.make_node, "Gemm", transB=1)
    nodes = [
        gemm(["x", "a_w", "a_b"], ["a"], "a"), helper.make_node("Relu", ["a"], ["h"], "relu"),
        gemm(["h", "b_w", "b_b"], ["b"], "b"), helper.make_node("Sigmoid", ["b"], ["g"], "sigmoid"),
        helper.make_node("Add", ["h", "g"], ["s"], "sum"), gemm(["s", "c_w", "c_b"], ["y"], "c"),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", 1, ["N", FEATURES])],
                              [helper.make_tensor_value_info("y", 1, ["N", CLASSES])], constants)  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _quantizers(power_of_two: bool) -> tuple[type, type, type, type | None]:
    """(activation, after ReLU, weight, bias) quantizers of Brevitas: with power-of-two scales, or its default ones."""
    from brevitas.quant import fixed_point, scaled_int

    if power_of_two:
        return (fixed_point.Int8ActPerTensorFixedPoint, fixed_point.Uint8ActPerTensorFixedPoint,
                fixed_point.Int8WeightPerTensorFixedPoint, scaled_int.Int24Bias)  # fmt: skip
    return scaled_int.Int8ActPerTensorFloat, scaled_int.Uint8ActPerTensorFloat, scaled_int.Int8WeightPerTensorFloat, scaled_int.Int32Bias


def _power_of_two_norm(channels: int):
    """A BatchNorm whose gains are powers of two and whose offsets few bits, so that a network with it stays exact."""
    from torch import nn

    norm = nn.BatchNorm1d(channels, eps=1e-30)
    norm.momentum = 0.0
    rng = np.random.default_rng(5)
    import torch

    norm.weight.data = torch.tensor(2.0 ** rng.integers(-1, 2, channels), dtype=torch.float32)
    norm.bias.data = torch.tensor(rng.integers(-2, 3, channels), dtype=torch.float32)
    return norm


def _plain(value):
    return value.value if hasattr(value, "value") else value


def _exported(form: str, build: Callable, shape: tuple[int, ...], opset: int = OPSET) -> ModelProto:
    """A calibrated Brevitas model as it comes out of `brevitas.export`."""
    import torch
    from brevitas.export import export_onnx_qcdq, export_qonnx

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        network = build().train()
        x = torch.randn(300, *shape)
        for _ in range(35):
            network(x)
        network.eval()
        out = io.BytesIO()
        if opset < OPSET:  # torch's older exporter
            options = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "N"}}}
        else:
            options = {"dynamic_shapes": ({0: torch.export.Dim("N")},)}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export = export_qonnx if form == "qonnx" else export_onnx_qcdq
            export(network, args=(x[:2],), export_path=str(path), opset_version=opset, **options)
            out.write(path.read_bytes())
    return onnx.load_from_string(out.getvalue())
