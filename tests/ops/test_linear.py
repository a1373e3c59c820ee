"""Linear: reference, body and kernel on every instruction set give the same integers; the kernel refuses what does not fit."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import ChannelLUT, Linear, OpError, Requant, check_node
from custom_ops.hw import ResidualAdd
from custom_ops.kernels import KernelError, library
from custom_ops.layer import OPTIONAL, combinations
from custom_ops.linear import linear
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int8, int32
from .layer_cases import LayerCase, assert_every_way_agrees, every_code_in, identity_operands, layer_cases, refusal_at


def small(**changes) -> LayerCase:
    rng = np.random.default_rng(1)
    operands = {"x": int8(rng, 3, 6), "weight": int8(rng, 6, 4), "mult": np.int32(1).reshape(1), "bias": int32(rng, -9, 9, 4),
                "shift": int32(rng, 5, 9, 4)}  # fmt: skip
    return LayerCase(Linear, operands | changes)


@pytest.mark.parametrize("case", layer_cases(Linear, seed=0, count=48, along_tokens=False))
def test_every_way_gives_the_same_integers(case, monkeypatch):
    assert_every_way_agrees(case, monkeypatch)


@pytest.mark.parametrize("given", combinations(), ids=lambda given: "_".join(given) or "none")
def test_the_reference_is_the_composition_of_the_single_ops(given):
    rng = np.random.default_rng(len(given))
    x, weight, bias, shift = int8(rng, 5, 6), int8(rng, 6, 4), int32(rng, -99, 99, 4), int32(rng, 5, 9, 4)
    shapes = {"table_in": (6, 256), "table_out": (4, 256), "skip": (5, 4), "skip_table": (4, 256)}
    operands = {role: int8(rng, *shapes[role]) for role in given}
    got = linear(x, weight, np.int32(3), bias, shift, **operands, rounding="HALF_UP", lo=-100, left=2, skip_left=1, right=3)
    codes = ChannelLUT.reference(x, operands["table_in"]) if "table_in" in given else x
    y = Requant.reference(codes.astype(np.int32) @ weight.astype(np.int32), np.int32(3), bias, shift, rounding="HALF_UP", lo=-100)
    y = ChannelLUT.reference(y, operands["table_out"]) if "table_out" in given else y
    if "skip" in given:
        skip = ChannelLUT.reference(operands["skip"], operands["skip_table"]) if "skip_table" in given else operands["skip"]
        y = ResidualAdd.reference(y, skip, a_shift=2, b_shift=1, shift=3, rounding="HALF_UP")
    np.testing.assert_array_equal(got, y)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_ties_round_as_named_for_every_shift(rounding, monkeypatch):
    """Weight 1 and a bias put every quotient on a tie or beside one; output s has shift s."""
    x = np.arange(-128, 128).astype(np.int8)[:, None]
    shift = np.arange(32, dtype=np.int32)
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
    for beside, mult in itertools.product((-1, 0, 1), (np.ones(32, np.int32), half.astype(np.int32))):
        operands = {"x": x, "weight": np.ones((1, 32), np.int8), "mult": mult, "bias": (half + beside).astype(np.int32), "shift": shift}
        assert_every_way_agrees(LayerCase(Linear, operands, {"rounding": rounding}), monkeypatch, threads=(1,))


@pytest.mark.parametrize("channels", [1, 16, 33])
def test_every_code_of_every_table(channels, monkeypatch):
    operands = identity_operands(np.random.default_rng(channels), channels) | {"x": every_code_in(256, channels), "skip": every_code_in(256, channels)[::-1].copy()}
    for given in combinations():
        kept = {role: array for role, array in operands.items() if role not in OPTIONAL or role in given}
        assert_every_way_agrees(LayerCase(Linear, kept), monkeypatch, threads=(1,))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("left", "skip_left", "right"), [(0, 0, 0), (0, 0, 1), (1, 0, 2), (0, 3, 4), (7, 6, 8), (6, 7, 14), (7, 7, 15), (8, 0, 9), (22, 21, 23), (0, 22, 31)])
def test_every_sum_of_two_codes(left, skip_left, right, rounding, monkeypatch):
    """All 65,536 pairs, with sums that 16 bits hold, barely hold, and do not."""
    own, skip = (pair.ravel()[:, None] for pair in np.meshgrid(*[np.arange(-128, 128).astype(np.int8)] * 2))
    operands = {role: array for role, array in identity_operands(np.random.default_rng(0), 1).items() if "table" not in role}
    case = LayerCase(Linear, operands | {"x": own, "skip": skip}, {"rounding": rounding, "left": left, "skip_left": skip_left, "right": right})
    assert_every_way_agrees(case, monkeypatch, threads=(1,))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_accumulators_at_their_limits(rounding, monkeypatch):
    """65,536 inputs of -128 by -128 make 2**30; the bias brings it to int32's end, where one step more needs int64."""
    for weight, end in ((-128, 2**31 - 1), (127, -(2**31))):
        operands = {"x": np.full((2, 65536), -128, np.int8), "weight": np.full((65536, 3), weight, np.int8), "mult": np.ones(1, np.int32),
                    "bias": np.full(3, end - 65536 * -128 * weight, np.int64).astype(np.int32), "shift": np.array([22, 23, 24], np.int32)}  # fmt: skip
        assert_every_way_agrees(LayerCase(Linear, operands, {"rounding": rounding}), monkeypatch, threads=(1,))
        operands["bias"] = np.full(3, end, np.int64).astype(np.int32)
        assert_every_way_agrees(LayerCase(Linear, operands, {"rounding": rounding}), monkeypatch, threads=(1,))


def test_a_batch_that_several_threads_share(monkeypatch):
    rng = np.random.default_rng(9)
    operands = {"x": int8(rng, 40, 64, 96), "weight": int8(rng, 96, 96), "mult": np.ones(1, np.int32), "bias": int32(rng, -999, 999, 96),
                "shift": int32(rng, 7, 12, 96), "table_in": int8(rng, 96, 256), "skip": int8(rng, 40, 64, 96)}  # fmt: skip
    assert_every_way_agrees(LayerCase(Linear, operands, {"left": 0, "skip_left": 1, "right": 1}), monkeypatch)


def test_qonnx_and_shape_inference_know_it():
    rng = np.random.default_rng(3)
    arrays = (int8(rng, 2, 3, 6), int8(rng, 6, 4), np.int32(1), int32(rng, -9, 9, 4), int32(rng, 5, 9, 4), int8(rng, 6, 256))
    assert_faces_agree(Linear, *arrays)
    assert inferred(Linear, *arrays) == [(["N", 3, 4], TensorProto.INT8, "INT8")]


def test_bad_nodes_are_refused_in_one_line():
    node = helper.make_node("Linear", ["x", "w", "m", "b", "s", "", "", "", "t"], ["y"], name="node", domain="psaflow")
    with pytest.raises(OpError, match="Linear node: a skip_table needs the input skip"):
        check_node(node)
    node = helper.make_node("Linear", ["x", "w", "m", "b", "s"], ["y"], name="node", domain="psaflow", left=23)
    with pytest.raises(OpError, match=r"Linear node: left=23 must be in 0\.\.22"):
        check_node(node)
    node = helper.make_node("Linear", ["x", "w", "m", "b", "s", "t"], ["y"], name="node", domain="psaflow")
    with pytest.raises(OpError, match=r"Linear node: table_in is \[6, 65\], must be \[channels, 256\]"):
        check_node(node, {}, {"t": helper.make_tensor("t", TensorProto.INT8, [6, 65], [0] * 390)})


REFUSED = [  # stage, operands that change, message
    ("run", {"x": np.zeros((2, 5), np.int8)}, "Linear 'node' of x 'x' int8[2,5]: x must be [.., 6], the inputs of weight int8[6,4]"),
    ("run", {"x": np.zeros((), np.int8)}, "Linear 'node' of x 'x' int8[]: x must be [.., 6]"),
    ("run", {"skip": np.zeros((2, 4), np.int8)}, "Linear 'node': skip int8[2,4] must be int8[3,4]"),
    ("session", {"weight": np.zeros((6, 4, 1), np.int8)}, "Linear 'node': weight int8[6,4,1] must be int8 of rank 2"),
    ("session", {"weight": np.zeros((6, 0), np.int8)}, "Linear 'node': weight int8[6,0] must have 1 to 65536 inputs, and outputs"),
    ("session", {"weight": np.zeros((65537, 1), np.int8)}, "weight int8[65537,1] must have 1 to 65536 inputs"),
    ("session", {"bias": np.zeros(5, np.int32)}, "Linear 'node': bias int32[5] must be int32, one number or one for each of 4 outputs"),
    ("session", {"shift": np.full(4, 32, np.int32)}, "Linear 'node': shift 32 must be in 0..31"),
    ("session", {"table_in": np.zeros((5, 256), np.int8)}, "Linear 'node': table_in int8[5,256] must be int8[6,256]"),
    ("session", {"table_out": np.zeros((4, 65), np.int8)}, "Linear 'node': table_out int8[4,65] must be int8[4,256]"),
]


@pytest.mark.parametrize(("stage", "changes", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_the_kernel_refuses_what_does_not_fit(stage, changes, message):
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    assert message in refusal_at(small(), stage, **changes)


def test_the_kernel_refuses_computed_weights():
    from custom_ops.runtime import ModelError, session

    with pytest.raises(ModelError, match="Linear 'node': weight must be a constant"):
        session(small().model(inputs=("x", "weight")), kernels=True)
