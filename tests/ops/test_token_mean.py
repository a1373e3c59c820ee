"""TokenMean of both domains: an exact sum over tokens, rounded once."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import OpError, check_node
from custom_ops import TokenMean as TokenMeanSoftware
from custom_ops.hw import FoldingError, TokenMean, hardware_node
from custom_ops.hw.token_mean import token_mean
from custom_ops.kernels import KernelError, library
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int8
from .layer_cases import MORE_SHAPES, LayerCase, assert_every_way_agrees, refusal_at


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("tokens", "shift"), [(64, 6), (2, 1), (1, 0), (5, 2)])
def test_faces_agree(tokens, shift, rounding):
    x = int8(np.random.default_rng(tokens), 50, tokens, 6)
    x[0], x[1] = -128, 127
    assert_faces_agree(TokenMean, x, shift=shift, rounding=rounding, PE=3)


def test_a_mean_of_two_tokens_on_ties():
    x = np.array([[[1, 3, -1, -3]], [[2, 2, 0, 2]]], np.int8).transpose(1, 0, 2)  # sums 3, 5, -1, -1
    assert token_mean(x, shift=1).tolist() == [[[2, 2, 0, 0]]]
    assert token_mean(x, shift=1, rounding="HALF_UP").tolist() == [[[2, 3, 0, 0]]]


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(TokenMean, np.zeros((2, 8, 3), np.int8), shift=3) == [(["N", 1, 3], TensorProto.INT8, "INT8")]


def make(**attributes):
    return helper.make_node("TokenMean", ["x"], ["y"], name="mean", domain="psaflow.hw", **attributes)


def test_hardware_node_answers():
    hw = hardware_node(make(PE=4, shift=6), {}, {"x": ("N", 64, 96)})
    assert (hw.folded_input_shapes, hw.folded_output_shapes) == (((1, 64, 24, 4),), ((1, 1, 24, 4),))
    assert (hw.cycles, hw.accumulator_bits) == (64 * 24, 14)
    assert [tuple(memory) for memory in hw.memories] == [("sum", 24, 56)]


def test_what_does_not_fit_is_refused():
    with pytest.raises(FoldingError, match="TokenMean mean: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        hardware_node(make(PE=4), {}, {"x": (1, 4, 6)})
    with pytest.raises(OpError, match=r"TokenMean mean: shift=32 must be in 0\.\.31"):
        check_node(make(shift=32))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("images", "tokens", "channels", "shift"), [(3, 64, 96, 6), (0, 4, 5, 2), (65, 1, 1, 0), (2, 130, 65, 7), (1, 300, 33, 8), (40, 64, 130, 5), (2, 0, 3, 1)])  # fmt: skip
def test_without_the_token_axis_every_way_gives_the_same_integers(images, tokens, channels, shift, rounding, monkeypatch):
    x = int8(np.random.default_rng(tokens), images, tokens, channels)
    x[:1], x[1:2] = -128, 127
    rng = np.random.default_rng(tokens)
    more = [{"x": int8(rng, int(rng.integers(0, 5)), int(rng.integers(0, 200)), int(rng.integers(1, 140)))} for _ in range(MORE_SHAPES)]
    assert_every_way_agrees(LayerCase(TokenMeanSoftware, {"x": x}, {"shift": shift, "rounding": rounding, "lo": -100}, more), monkeypatch)
    expected = token_mean(x, shift=shift, rounding=rounding, lo=-100)[:, 0]
    assert (TokenMeanSoftware.reference(x, shift=shift, rounding=rounding, lo=-100) == expected).all()


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_mean_at_every_shift_on_ties_and_beside_them(rounding, monkeypatch):
    """Channel c sums to c - 300, and in the second image to its double."""
    totals = np.arange(-300, 301)
    one = np.stack([totals // 3, totals - totals // 3 * 2 - 1, totals // 3 + 1])
    assert (one.sum(0) == totals).all()
    assert np.abs(one).max() < 128
    x = np.stack([np.concatenate([one, np.zeros_like(one)]), np.concatenate([one, one])]).astype(np.int8)
    for shift in range(32):
        assert_every_way_agrees(LayerCase(TokenMeanSoftware, {"x": x}, {"shift": shift, "rounding": rounding}), monkeypatch, threads=(1,))


def test_qonnx_and_shape_inference_know_the_mean_without_the_token_axis():
    x = int8(np.random.default_rng(1), 2, 8, 3)
    assert_faces_agree(TokenMeanSoftware, x, shift=3)
    assert inferred(TokenMeanSoftware, x, shift=3) == [(["N", 3], TensorProto.INT8, "INT8")]


def test_the_kernel_refuses_what_does_not_fit():
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    case = LayerCase(TokenMeanSoftware, {"x": np.zeros((2, 3, 4), np.int8)})
    assert "TokenMean 'node' of x 'x' int8[2,3]: x must be [N, tokens, channels]" in refusal_at(case, "run", x=np.zeros((2, 3), np.int8))
    bad = LayerCase(TokenMeanSoftware, {"x": np.zeros((2, 3, 4), np.int8)}, {"lo": 5, "hi": 4})
    assert "TokenMean 'node': lo=5, hi=4 must satisfy -128 <= lo <= hi <= 127" in refusal_at(bad, "session")
