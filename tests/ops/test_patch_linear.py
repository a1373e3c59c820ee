"""PatchLinear: reference, body and kernel on every instruction set give the same integers; the kernel refuses what does not fit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from custom_ops import ChannelLUT, Linear, OpError, PatchLinear, check_node
from custom_ops.hw import Patches
from custom_ops.kernels import KernelError, library
from custom_ops.patch_linear import patch_linear
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int8, int32, node_model
from .layer_cases import MORE_SHAPES, LayerCase, assert_every_way_agrees, every_code_in, identity_operands, refusal_at, requant_operands

SHAPES = [  # patch, images, patches down and across, colours, outputs
    (4, 3, 8, 8, 3, 96), (4, 1, 8, 8, 3, 10), (1, 2, 5, 7, 1, 3), (2, 9, 3, 5, 4, 17), (3, 0, 2, 2, 3, 5), (5, 2, 1, 13, 2, 33), (8, 2, 1, 1, 3, 64),
]  # fmt: skip


def pixels(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def case(shape: tuple[int, ...], regime: str, *, table_out: bool, **attributes) -> LayerCase:
    patch, images, down, across, colours, outputs = shape
    rng = np.random.default_rng(sum(shape))
    operands = {"x": pixels(rng, images, patch * down, patch * across, colours), "table": int8(rng, colours, 256),
                "weight": int8(rng, patch * patch * colours, outputs), **requant_operands(rng, outputs, regime)}  # fmt: skip
    operands |= {"table_out": int8(rng, outputs, 256)} if table_out else {}
    sizes = [(int(rng.choice([0, 1, 1, 2, 3])), *(patch * int(n) for n in rng.integers(1, 10, 2)), colours) for _ in range(MORE_SHAPES)]
    return LayerCase(PatchLinear, operands, {"patch": patch} | attributes, [{"x": pixels(rng, *size)} for size in sizes])


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("regime", ["shift", "wide"])
def test_every_way_gives_the_same_integers(shape, regime, rounding, monkeypatch):
    made = case(shape, regime, table_out=(len(regime) + shape[0]) % 2 == 0, rounding=rounding, hi=100)
    assert_every_way_agrees(made, monkeypatch)


def test_a_batch_that_several_threads_share(monkeypatch):
    assert_every_way_agrees(case((4, 40, 8, 8, 3, 96), "shift", table_out=False), monkeypatch)


@pytest.mark.parametrize("colours", [1, 3, 17])
def test_every_code_of_every_table(colours, monkeypatch):
    """Patches of one pixel through the identity: what comes out is the tables'."""
    operands = identity_operands(np.random.default_rng(colours), colours)
    operands = {"x": every_code_in(256, colours).view(np.uint8).reshape(1, 16, 16, colours), "table": operands.pop("table_in"), **operands}
    del operands["skip_table"]
    assert_every_way_agrees(LayerCase(PatchLinear, operands, {"patch": 1}), monkeypatch, threads=(1,))
    del operands["table_out"]
    assert_every_way_agrees(LayerCase(PatchLinear, operands, {"patch": 1}), monkeypatch, threads=(1,))


def test_the_reference_is_the_composition_of_the_single_ops():
    rng = np.random.default_rng(2)
    x, table, weight, t_out = pixels(rng, 2, 8, 12, 3), int8(rng, 3, 256), int8(rng, 48, 5), int8(rng, 5, 256)
    bias, shift = int32(rng, -99, 99, 5), int32(rng, 5, 9, 5)
    tokens = Patches.reference(ChannelLUT.reference(x, table, lowest=0), patch=4)
    expected = Linear.reference(tokens, weight, np.int32(1), bias, shift, table_out=t_out, rounding="HALF_UP")
    np.testing.assert_array_equal(patch_linear(x, table, weight, np.int32(1), bias, shift, t_out, rounding="HALF_UP"), expected)


def test_qonnx_and_shape_inference_know_it():
    rng = np.random.default_rng(3)
    arrays = (pixels(rng, 2, 8, 12, 3), int8(rng, 3, 256), int8(rng, 48, 5), np.int32(1), int32(rng, -9, 9, 5), int32(rng, 5, 9, 5))
    expected = assert_faces_agree(PatchLinear, *arrays)
    ((shape, kind, datatype),) = inferred(PatchLinear, *arrays)  # without data propagation: the rank alone
    assert (len(shape), kind, datatype) == (3, TensorProto.INT8, "INT8")
    model = node_model(PatchLinear, arrays, (expected,), inputs=1)
    noted = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    assert [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in noted] == [["N", 6, 5]]


def test_a_bad_patch_is_refused_in_one_line():
    node = helper.make_node("PatchLinear", ["x", "t", "w", "m", "b", "s"], ["y"], name="node", domain="psaflow", patch=0)
    with pytest.raises(OpError, match=r"PatchLinear node: patch=0 must be at least 1 \(pixels\)"):
        check_node(node)


REFUSED = [  # stage, operands that change, message
    ("run", {"x": np.zeros((2, 30, 32, 3), np.uint8)}, "PatchLinear 'node' of x 'x' uint8[2,30,32,3]: x must be [N, H, W, 3] with H and W multiples of 4, for table int8[3,256] and weight int8[48,10]"),
    ("run", {"x": np.zeros((2, 32, 32), np.uint8)}, "PatchLinear 'node' of x 'x' uint8[2,32,32]: x must be [N, H, W, 3]"),
    ("run", {"x": np.zeros((2, 32, 32, 1), np.uint8)}, "x must be [N, H, W, 3]"),
    ("session", {"table": np.zeros((1, 256), np.int8)}, "PatchLinear 'node': patch=4 of 1 colours does not give the 48 inputs of weight"),
    ("session", {"table": np.zeros((3, 65), np.int8)}, "PatchLinear 'node': table int8[3,65] must be int8[colours,256]"),
]


@pytest.mark.parametrize(("stage", "changes", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_the_kernel_refuses_what_does_not_fit(stage, changes, message):
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    assert message in refusal_at(case((4, 2, 8, 8, 3, 10), "shift", table_out=False), stage, **changes)
