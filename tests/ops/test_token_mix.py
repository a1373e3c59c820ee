"""TokenMix: a linear layer along the tokens, requantized per output token."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops.hw import FoldingError, TokenMix, hardware_node
from custom_ops.hw.mat_vec import mat_vec
from custom_ops.hw.token_mix import token_mix
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int8, int32


def case(seed, tokens=8, channels=6, rows=5, batch=3):
    rng = np.random.default_rng(seed)
    weight, bias, shift = int8(rng, rows, tokens), int32(rng, -(2**14), 2**14, rows), int32(rng, 0, 12, rows)
    return int8(rng, batch, tokens, channels), weight, bias, shift


def plan(rows, tokens, channels, **attributes):
    node = helper.make_node("TokenMix", list("xwbs"), ["y"], name="mix", domain="psaflow.hw", **attributes)
    constants = {"w": np.ones((rows, tokens), np.int8), "b": np.zeros(rows, np.int32), "s": np.zeros(rows, np.int32)}
    return hardware_node(node, constants, {"x": ("N", tokens, channels)})


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_faces_agree(rounding):
    assert_faces_agree(TokenMix, *case(0), rounding=rounding, hi=90, PE=3, SIMD=4)


def test_sums_of_extreme_products_are_exact():
    x = np.full((1, 256, 2), -128, np.int8)
    weight = np.full((1, 256), -128, np.int8)
    shift = np.array([15], np.int32)
    y = assert_faces_agree(TokenMix, x, weight, np.array([-(2**21)], np.int32), shift)
    assert y.tolist() == [[[64, 64]]]


def test_reference_is_a_mat_vec_of_the_transposed_image():
    x, weight, bias, shift = case(1)
    expected = mat_vec(x.transpose(0, 2, 1), weight, bias, shift).transpose(0, 2, 1)
    np.testing.assert_array_equal(token_mix(x, weight, bias, shift), expected)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(TokenMix, *case(2)) == [(["N", 5, 6], TensorProto.INT8, "INT8")]


def test_hardware_node_answers():
    hw = plan(64, 64, 96, PE=2, SIMD=8, in_lanes=2, out_lanes=1)
    assert (hw.in_lanes, hw.out_lanes) == ((2,), (1,))
    assert (hw.folded_input_shapes, hw.folded_output_shapes) == (((1, 64, 48, 2),), ((1, 64, 96, 1),))
    assert hw.cycles == 64 * 48 * 8
    assert hw.accumulator_bits == 14
    sizes = [(name, depth, width) for name, depth, width in hw.memories]
    assert sizes == [("weight", 64 * 8, 64), ("param", 64, 3), ("image", 2 * 8 * 48, 128)]
    assert hw.usage("ecp5").dsp == 16


def test_the_slowest_of_products_input_and_output_sets_the_pace():
    assert plan(2, 8, 6, PE=1, SIMD=8).cycles == 8 * 6
    assert plan(2, 8, 6, PE=1, SIMD=8, in_lanes=6).cycles == 2 * 6
    assert plan(8, 8, 6, PE=3, SIMD=8, in_lanes=3).cycles == 8 * 6
    assert plan(8, 8, 6, PE=3, SIMD=8, in_lanes=3, out_lanes=3).cycles == 8 * 2


def test_a_word_holds_the_channels_of_the_wider_side():
    image = plan(8, 8, 6, PE=1, SIMD=4, in_lanes=3).memories[2]
    assert (image.depth, image.width) == (2 * 2 * 2, 4 * 3 * 8)


def test_a_wrong_folding_is_refused():
    with pytest.raises(FoldingError, match="TokenMix mix: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        plan(5, 8, 6, PE=4)
    with pytest.raises(FoldingError, match="TokenMix mix: SIMD=3 must divide 8 tokens; try 1, 2, 4, 8"):
        plan(5, 8, 6, SIMD=3)
    with pytest.raises(FoldingError, match="TokenMix mix: in_lanes=2 and PE=3: one must divide the other; try in_lanes=1, 3, 6"):
        plan(5, 8, 6, PE=3, in_lanes=2)
    with pytest.raises(FoldingError, match="TokenMix mix: out_lanes=3 and PE=2: one must divide the other; try out_lanes=1, 2, 6"):
        plan(5, 8, 6, PE=2, out_lanes=3)
