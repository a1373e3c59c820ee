"""Networks of other tools, from their export to integers: equal outputs, bit for bit where scales are powers of two."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.load import ModelError, check_model
from custom_ops.runtime import kernels_of, session
from passes import INTEGER, RUNTIME, STREAMLINE, TIDY
from passes.check import CheckedPasses, PassError, PassRecord, logits
from passes.graph import get_metadata
from passes.logits_to_integer import SCALE
from passes.scaling import errors_of
from tests.passes import foreign

MODELS: dict[str, Callable[[], ModelProto]] = {
    "brevitas MLP, 4 bits, QONNX": foreign.brevitas_mlp,
    "brevitas MLP, 4 bits, float scales": lambda: foreign.brevitas_mlp(False),
    "brevitas MLP, 8 bits, ReLU to uint8": lambda: foreign.brevitas_mlp(True, 8),
    "brevitas MLP, 3 bits, float scales": lambda: foreign.brevitas_mlp(False, 3),
    "brevitas GELU, QCDQ": foreign.gelu_qcdq,
    "brevitas GELU, QCDQ, opset 13": lambda: foreign.gelu_qcdq(13),
    "brevitas mixer, SiLU, QONNX": lambda: foreign.mixer(True),
    "brevitas mixer, SiLU, float scales": lambda: foreign.mixer(False),
    "brevitas mixer, SiLU, QCDQ": lambda: foreign.mixer(False, "qcdq"),
    "onnxruntime, its defaults": foreign.onnxruntime_mlp,
    "onnxruntime, symmetric": lambda: foreign.onnxruntime_mlp(symmetric=True),
    "onnxruntime, uint8, weights per channel": lambda: foreign.onnxruntime_mlp(per_channel=True, unsigned=True),
}
EXACT = ("brevitas MLP, 4 bits, QONNX", "brevitas MLP, 8 bits, ReLU to uint8", "brevitas mixer, SiLU, QONNX")
COUNT = 600
BOUND = 2.0**-10  # of a code: what our multipliers may add before rounding, in these networks

each_model = pytest.mark.parametrize("name", MODELS)


@functools.cache
def lowered(name: str) -> tuple[ModelProto, ModelProto, list[PassRecord], np.ndarray]:
    """(as exported, integers, a record of each pass, the inputs that all of them ran on)."""
    model = MODELS[name]()
    x = foreign.inputs(model, COUNT, 7)
    run = CheckedPasses(model, x)
    for stage, passes in (("tidy", TIDY), ("streamlined", STREAMLINE), ("integer", INTEGER)):
        result = run.run(stage, passes)
    return model, ModelProto.FromString(result.SerializeToString()), run.records, x


def answers(model: ModelProto, x: np.ndarray) -> np.ndarray:
    """Of a model as it was exported."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return logits(check_model(copy), x)


@each_model
def test_only_integers_are_left_behind_one_quantizer_at_the_door(name: str) -> None:
    _, integer, _, _ = lowered(name)
    onnx.checker.check_model(integer, full_check=True)
    door, *rest = integer.graph.node
    assert door.op_type == "QuantizeLinear" and door.input[0] == integer.graph.input[0].name
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*integer.graph.value_info, *integer.graph.output)}
    integers = {TensorProto.INT8, TensorProto.INT32, TensorProto.INT64}
    assert all(kinds[o] in integers for n in (door, *rest) for o in n.output)
    scale = door.input[1]
    assert all(i.data_type in integers for i in integer.graph.initializer if i.name != scale)
    assert not any(scale in n.input for n in rest)


@each_model
def test_outputs_are_equal(name: str) -> None:
    model, integer, records, x = lowered(name)
    expected, given = answers(model, x), logits(integer, x)
    assert [r.mismatches for r in records] == [0] * len(records)
    assert len(np.unique(given)) > 20  # the network does tell inputs apart
    errors = errors_of(integer)
    if name in EXACT:
        assert not errors
        assert (given == expected).all()
        return
    inner = {t: v for t, v in errors.items() if t != integer.graph.output[0].name}
    assert inner and all(ours <= BOUND for ours, _ in inner.values()), errors
    rounded = sum(r.rounded for r in records)
    assert rounded <= COUNT * 0.02
    close = np.abs(given - expected).max(1) <= 1e-4 * np.abs(expected).max()
    assert (~close).sum() <= rounded  # where no code was rounded otherwise, only float32's own sums differ


@each_model
def test_numpy_onnxruntime_and_the_kernels_agree_on_the_integers(name: str) -> None:
    _, integer, _, x = lowered(name)
    feed = {integer.graph.input[0].name: x}
    plain = session(integer, kernels=False, optimize=False).run(None, feed)[0]
    assert plain.dtype in (np.int8, np.int32)
    assert (session(integer, kernels=False).run(None, feed)[0] == plain).all()
    opened = session(integer, kernels="auto")
    assert (opened.run(None, feed)[0] == plain).all()
    if kernels_of(opened):
        assert kernels_of(opened)["psaflow.Requant"] > 0


@each_model
def test_the_fused_graph_gives_the_same_logits(name: str) -> None:
    _, integer, _, x = lowered(name)
    run = CheckedPasses(integer, x)
    fused = run.run("runtime", RUNTIME)
    assert (logits(fused, x) == logits(integer, x)).all()


@each_model
def test_lowering_integers_again_changes_nothing(name: str) -> None:
    _, integer, _, x = lowered(name)
    run = CheckedPasses(integer, x[:20])
    again = run.run("again", (*TIDY, *STREAMLINE, *INTEGER))
    assert Counter(n.op_type for n in again.graph.node) == Counter(n.op_type for n in integer.graph.node)


def test_four_bit_weights_and_activations_are_noted_as_such() -> None:
    wrapper = ModelWrapper(lowered("brevitas MLP, 4 bits, QONNX")[1])
    products = [n for n in wrapper.graph.node if n.op_type == "MatMulInteger"]
    assert [wrapper.get_tensor_datatype(n.input[1]).name for n in products] == ["INT4", "INT4"]
    assert [wrapper.get_tensor_datatype(n.input[0]).name for n in products] == ["INT4", "UINT4"]
    assert all(wrapper.get_tensor_datatype(n.output[0]).bitwidth() <= 13 for n in products)


@pytest.mark.parametrize("name", EXACT)
def test_scales_of_powers_of_two_only_shift(name: str) -> None:
    graph = lowered(name)[1].graph
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Requant" and "mlp" not in name.lower():
            assert (np.abs(constants[node.input[1]]) == 1).all(), node.name


def quantizer(op: str, bits: float = 8, rounding: str = "ROUND", scale: str = "float s = {0.5}", zero: str = "float z = {0}") -> ModelProto:
    attributes = f'<signed: int = 1, narrow: int = 0, rounding_mode: string = "{rounding}">' if op != "BipolarQuant" else ""
    inputs = "(x, s)" if op == "BipolarQuant" else "(x, s, z, n)"
    return onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18, "qonnx.custom_op.general" : 2]>
        g (float[N,2] x) => (float[N,2] y) <{scale}, {zero}, float n = {{{bits}}}, float[2,2] w = {{1, 2, 3, 4}}>
        {{ [q] a = qonnx.custom_op.general.{op} {attributes} {inputs}
           [v] b = qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND"> (w, s, z, n)
           [fc] y = MatMul (a, b) }}""")


X = np.random.default_rng(0).normal(0, 40, (300, 2)).astype(np.float32)


def line(model: ModelProto) -> str:
    with pytest.raises((PassError, ModelError)) as refused:
        CheckedPasses(model, X).run("all", (*TIDY, *STREAMLINE, *INTEGER))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_both_names_of_qonnx_quantizer_are_taken(op: str, bits: int) -> None:
    model = quantizer(op, bits)
    out = CheckedPasses(model, X).run("all", (*TIDY, *STREAMLINE, *INTEGER))
    assert (logits(out, X) == answers(model, X)).all() and get_metadata(out, SCALE) == "0.25"


@pytest.mark.parametrize(("model", "words"), [
    (lambda: quantizer("BipolarQuant"), ("BipolarQuant q", "Quant and IntQuant", "2 to 8 bits")),
    (lambda: quantizer("Trunc"), ("Trunc q", "supported of QONNX are Quant and IntQuant")),
    (lambda: quantizer("Quant", 1), ("Quant q", "bipolar")),
    (lambda: quantizer("Quant", 16), ("q: an activation of -32768..32767", "8 bits")),
    (lambda: quantizer("Quant", rounding="FLOOR"), ("Quant q", "FLOOR", "ROUND")),
    (lambda: quantizer("Quant", scale="float s = {-0.5}"), ("Quant q", "scale [-0.5]", "positive")),
    (lambda: quantizer("Quant", scale="float s = {0}"), ("Quant q", "scale [0.0]", "positive")),
], ids=["bipolar", "trunc", "one bit", "16 bits", "floor", "negative scale", "no scale"])  # fmt: skip
def test_what_qonnx_has_and_integers_here_have_not_is_named(model: Callable[[], ModelProto], words: tuple[str, ...]) -> None:
    message = line(model())
    for word in words:
        assert word in message


def test_an_unsupported_op_is_named_with_its_node_its_types_and_what_is_supported() -> None:
    model = ModelProto.FromString(foreign.onnxruntime_mlp().SerializeToString())
    sigmoid = next(n for n in model.graph.node if n.op_type == "Sigmoid")
    sigmoid.op_type = "Softmax"
    x = foreign.inputs(model, 20, 1)
    with pytest.raises(PassError) as refused:
        CheckedPasses(model, x).run("all", (*TIDY, *STREAMLINE, *INTEGER))
    for word in ("RequireInteger: Softmax sigmoid", "supported:", "linear layers", "per-channel functions"):
        assert word in str(refused.value)


def test_weights_that_are_quantized_by_a_constant_integer_need_no_quantize_node() -> None:
    model = foreign.gelu_qcdq(13)
    makers = {o: n.op_type for n in model.graph.node for o in n.output}
    assert "Clip" in {makers.get(n.input[0]) for n in model.graph.node if n.op_type == "DequantizeLinear"}


def test_a_batch_of_one_and_of_many_answer_alike() -> None:
    for name in ("onnxruntime, its defaults", "brevitas mixer, SiLU, float scales"):
        _, integer, _, x = lowered(name)
        alone = np.concatenate([logits(integer, x[i : i + 1]) for i in range(5)])
        assert (alone == logits(integer, x)[:5]).all()


def test_a_layout_between_float_input_and_first_quantizer_moves_behind_it() -> None:
    text = """
        <ir_version: 10, opset_import: ["" : 18]>
        g (float[N,2,3] x) => (float[N,2] y)
        <float s = {0.043}, int8 z = {4}, int8[6,2] w = {12, -7, 3, 99, -50, 6, 1, -2, 44, 3, -127, 8}, float ws = {0.0137}, int64[2] shape = {0, -1}>
        { t = Transpose <perm = [0, 2, 1]> (x)
          r = Reshape (t, shape)
          a = QuantizeLinear (r, s, z)
          ad = DequantizeLinear (a, s, z)
          wd = DequantizeLinear (w, ws)
          y = MatMul (ad, wd) }"""
    model = onnx.parser.parse_model(text)
    x = np.random.default_rng(0).normal(0, 2, (50, 2, 3)).astype(np.float32)
    out = CheckedPasses(model, x).run("all", (*TIDY, *STREAMLINE, *INTEGER))
    assert [n.op_type for n in out.graph.node] == ["QuantizeLinear", "Transpose", "Reshape", "MatMulInteger", "Add"]
    assert out.graph.node[0].input[0] == "x"


def test_float_arithmetic_before_the_first_quantizer_is_named() -> None:
    model = ModelProto.FromString(foreign.onnxruntime_mlp().SerializeToString())
    first = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x")
    first.input[0] = "normalised"
    model.graph.node.insert(0, helper.make_node("Sigmoid", ["x"], ["normalised"], "squash"))
    with pytest.raises(PassError, match="Sigmoid squash"):
        CheckedPasses(model, foreign.inputs(model, 20, 1)).run("all", (*TIDY, *STREAMLINE, *INTEGER))
