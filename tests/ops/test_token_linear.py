"""TokenLinear: reference, body and kernel on every instruction set give the same integers; the kernel refuses what does not fit."""

import numpy as np
import pytest
from onnx import TensorProto

from custom_ops import ChannelLUT, Requant, TokenLinear
from custom_ops.hw import ResidualAdd, TokenMix
from custom_ops.kernels import KernelError, library
from custom_ops.rounding import ROUNDINGS
from custom_ops.token_linear import token_linear

from .faces import assert_faces_agree, inferred, int8, int32
from .layer_cases import LayerCase, assert_every_way_agrees, every_code_in, identity_operands, layer_cases, refusal_at, requant_operands


def small() -> LayerCase:
    rng = np.random.default_rng(1)
    operands = {"x": int8(rng, 2, 6, 5), "weight": int8(rng, 4, 6), "mult": np.int32(1).reshape(1), "bias": int32(rng, -9, 9, 4),
                "shift": int32(rng, 5, 9, 4)}  # fmt: skip
    return LayerCase(TokenLinear, operands)


@pytest.mark.parametrize("case", layer_cases(TokenLinear, seed=1, count=48, along_tokens=True))
def test_every_way_gives_the_same_integers(case, monkeypatch):
    assert_every_way_agrees(case, monkeypatch)


def test_the_reference_is_the_composition_of_the_single_ops():
    rng = np.random.default_rng(2)
    x, weight, bias, shift = int8(rng, 3, 7, 5), int8(rng, 4, 7), int32(rng, -99, 99, 4), int32(rng, 5, 9, 4)
    t_in, t_out, t_skip, skip = int8(rng, 5, 256), int8(rng, 5, 256), int8(rng, 5, 256), int8(rng, 3, 4, 5)
    got = token_linear(x, weight, np.int32(1), bias, shift, t_in, t_out, skip, t_skip, left=1, skip_left=2, right=2)
    mixed = TokenMix.reference(ChannelLUT.reference(x, t_in), weight, bias, shift)
    y = ResidualAdd.reference(ChannelLUT.reference(mixed, t_out), ChannelLUT.reference(skip, t_skip), a_shift=1, b_shift=2, shift=2)
    np.testing.assert_array_equal(got, y)
    product = np.einsum("ut,ntc->nuc", weight.astype(np.int32), x.astype(np.int32))
    plain = token_linear(x, weight, np.int32(3), bias, shift, rounding="HALF_UP")
    np.testing.assert_array_equal(plain, Requant.reference(product, np.int32(3), bias, shift, axis=-2, rounding="HALF_UP"))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_ties_round_as_named_for_every_shift(rounding, monkeypatch):
    """Token s has shift s; weight 1 and a bias put every quotient on a tie or beside one."""
    x = np.arange(-128, 128).astype(np.int8)[None, None, :]
    shift = np.arange(32, dtype=np.int32)
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
    for beside in (-1, 0, 1):
        for mult in (np.ones(32, np.int32), half.astype(np.int32)):
            operands = {"x": x, "weight": np.ones((32, 1), np.int8), "mult": mult, "bias": (half + beside).astype(np.int32), "shift": shift}
            assert_every_way_agrees(LayerCase(TokenLinear, operands, {"rounding": rounding}), monkeypatch, threads=(1,))


@pytest.mark.parametrize("tokens", [1, 16, 33])
def test_every_code_of_every_table(tokens, monkeypatch):
    """Every channel, and so every row of every table, goes through all codes."""
    operands = identity_operands(np.random.default_rng(tokens), tokens)
    tables = {role: int8(np.random.default_rng(len(role)), 300, 256) for role in operands if "table" in role}
    x = np.resize(every_code_in(256, 300), (256 * 3, tokens, 300))
    assert all(len(np.unique(x[:, :, c])) == 256 for c in range(300))
    assert_every_way_agrees(LayerCase(TokenLinear, operands | tables | {"x": x, "skip": x[::-1].copy()}), monkeypatch, threads=(1,))


@pytest.mark.parametrize("channels", [1024, 1025, 2100])
def test_more_channels_than_a_tile_holds(channels, monkeypatch):
    rng = np.random.default_rng(channels)
    operands = {"x": int8(rng, 2, 5, channels), "weight": int8(rng, 70, 5), **requant_operands(rng, 70, "scaled"), "skip": int8(rng, 2, 70, channels)}
    operands |= {role: int8(rng, channels, 256) for role in ("table_in", "table_out", "skip_table")}
    assert_every_way_agrees(LayerCase(TokenLinear, operands, {"right": 1}), monkeypatch, threads=(1,))


def test_a_batch_that_several_threads_share(monkeypatch):
    rng = np.random.default_rng(9)
    operands = {"x": int8(rng, 40, 64, 96), "weight": int8(rng, 64, 64), "mult": np.ones(1, np.int32), "bias": int32(rng, -999, 999, 64),
                "shift": int32(rng, 7, 12, 64), "table_in": int8(rng, 96, 256), "table_out": int8(rng, 96, 256),
                "skip": int8(rng, 40, 64, 96)}  # fmt: skip
    assert_every_way_agrees(LayerCase(TokenLinear, operands, {"left": 0, "skip_left": 1, "right": 1}), monkeypatch)


def test_qonnx_and_shape_inference_know_it():
    rng = np.random.default_rng(3)
    arrays = (int8(rng, 2, 6, 5), int8(rng, 4, 6), np.int32(1), int32(rng, -9, 9, 4), int32(rng, 5, 9, 4), int8(rng, 5, 256))
    assert_faces_agree(TokenLinear, *arrays)
    assert inferred(TokenLinear, *arrays) == [(["N", 4, 5], TensorProto.INT8, "INT8")]


REFUSED = [  # stage, operands that change, message
    ("run", {"x": np.zeros((2, 5, 5), np.int8)}, "TokenLinear 'node' of x 'x' int8[2,5,5]: x must be [.., 6, channels], the inputs of weight int8[4,6]"),
    ("run", {"x": np.zeros(6, np.int8)}, "TokenLinear 'node' of x 'x' int8[6]: x must be [.., 6, channels]"),
    ("run", {"skip": np.zeros((2, 6, 5), np.int8)}, "TokenLinear 'node': skip int8[2,6,5] must be int8[2,4,5]"),
    ("run", {"table_in": np.zeros((4, 256), np.int8)}, "TokenLinear 'node' of x 'x' int8[2,6,5]: table_in int8[4,256] must have one row for each of x's channels"),
    ("run", {"skip_table": np.zeros((1, 256), np.int8), "skip": np.zeros((2, 4, 5), np.int8)}, "skip_table int8[1,256] must have one row for each"),
    ("session", {"shift": np.zeros(6, np.int32)}, "TokenLinear 'node': shift int32[6] must be int32, one number or one for each of 4 outputs"),
    ("session", {"table_out": np.zeros((5, 3), np.int8)}, "TokenLinear 'node': table_out int8[5,3] must be int8[channels,256]"),
]


@pytest.mark.parametrize(("stage", "changes", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_the_kernel_refuses_what_does_not_fit(stage, changes, message):
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    assert message in refusal_at(small(), stage, **changes)
