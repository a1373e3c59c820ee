"""What the engine or a build of it cannot run is refused in one line that names the node, or the size and its value."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accel.simd.compiler import CompileError, compile_model
from accel.simd.sizes import Build, BuildError
from tests.accel.simd.networks import PSA_96, RELU_192, Shape, network

SMALL = Shape(seed=3, side=16, width=24, hidden=20, blocks=1)


def refusal(model: onnx.ModelProto, build: Build | None = None) -> str:
    with pytest.raises(CompileError) as error:
        compile_model(model, build)
    return str(error.value)


@pytest.mark.parametrize(("shape", "sizes", "message"), [
    (PSA_96, {"image_words": 128}, "patches: 192 words of patches exceed this build's image_words=128"),
    (PSA_96, {"rows": 48}, "embed: 64 tokens exceed this build's rows=48"),
    (PSA_96, {"matrix_words": 240}, "blocks_0_token: 256 words of weights along tokens exceed this build's matrix_words=240"),
    (PSA_96, {"table_words": 64}, "blocks_0_act1: 65 entries exceed this build's table_words=64"),
    (replace(RELU_192, hidden=1024), {}, "tensor blocks_0_fc1: 64 tokens of 1024 channels need words 0..4095 of a bank, this build has bank_words=2048"),
    (replace(SMALL, side=10, patch=2, colours=3), {}, "patches: a patch's line of 2 pixels has 6 bytes; the engine takes multiples of 4 up to 252"),
    (replace(SMALL, classes=1030), {}, "1030 logits; the engine sends at most 1023"),
])  # fmt: skip
def test_a_size_that_is_too_large_is_named(shape: Shape, sizes: dict[str, int], message: str) -> None:
    assert refusal(network(shape), Build(**sizes)) == message


@pytest.mark.parametrize(("sizes", "message"), [
    ({"inputs": 32}, "inputs=32 must be 8 or 16"),
    ({"rows": 600}, "rows=600 must be a multiple of 16 from 16 to 512"),
    ({"bank_words": 1000}, "bank_words=1000 must be a multiple of 16 from 16 to 4096"),
    ({"queue": 0}, "queue=0 must be 1 to 16"),
])  # fmt: skip
def test_a_build_that_cannot_be_is_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(BuildError) as error:
        Build(**sizes)
    assert str(error.value) == message


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def unknown_op(model: onnx.ModelProto) -> None:
    node(model, "blocks_0_token_sum_a").op_type = "Sigmoid"


def multiplied_accumulator(model: onnx.ModelProto) -> None:
    constant(model, "embed_mult", np.array([3], np.int32))


def large_multiplier(model: onnx.ModelProto) -> None:
    constant(model, "blocks_0_token_in_mult", np.full(24, 40000, np.int32))


def biased_sum(model: onnx.ModelProto) -> None:
    constant(model, "blocks_0_sum_zero", np.array([3], np.int32))


def other_transpose(model: onnx.ModelProto) -> None:
    perm = node(model, "input_by_patch").attribute[0]
    perm.ints[:] = [0, 3, 1, 2, 4, 5]


def zero_point(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.int8(1), "zero_point"))
    node(model, "embed_accumulator").input.append("zero_point")


def float_image(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.INT8, ["N", 24]))


@pytest.mark.parametrize(("change", "message"), [
    (unknown_op, "Sigmoid blocks_0_token_sum_a: the engine has no such operation"),
    (multiplied_accumulator, "Requant embed: multipliers to 3 on an accumulator; the engine shifts accumulators only"),
    (large_multiplier, "Requant blocks_0_token_in: axis=-1, multipliers to 40000: of int8 by channel, at most 32767"),
    (biased_sum, "Requant blocks_0_sum: a sum has two operands, one shift and no bias"),
    (other_transpose, "Transpose input_by_patch: only the transposition that cuts an image into patches is known"),
    (zero_point, "MatMulInteger embed_accumulator: zero points are not known; bring them into the bias"),
    (float_image, "ChannelLUT input: the image must be uint8 [N, H, W, F], not [16, 16, 3]"),
    (second_output, "1 inputs and 2 outputs; the engine has one of each"),
])  # fmt: skip
def test_a_node_that_the_engine_does_not_know_is_named(change: Callable[[onnx.ModelProto], None], message: str) -> None:
    model = network(SMALL)
    change(model)
    assert refusal(model) == message
