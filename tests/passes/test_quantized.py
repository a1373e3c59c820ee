"""What the integer rewrites share: scales into shifts, biases into codes."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph, PassRefusal
from passes.quantized import LARGEST_SHIFT, Quantized, activation, bias_codes, dequantized, parameter, scalar_if_equal, shift_for
from tests.passes.graphs import parse


@pytest.mark.parametrize("exponent", range(-23, LARGEST_SHIFT + 1))
def test_multiplier_and_shift_give_the_ratio_of_scales_exactly(exponent: int) -> None:
    mult, shift = shift_for(np.array([0.25, 0.25]), np.array(0.25 * 2.0**exponent), "y")
    assert (mult / 2.0**shift == 2.0**-exponent).all()
    assert mult.dtype == shift.dtype == np.int32
    assert (shift >= 0).all() and ((mult == 1) | (shift == 0)).all()


@pytest.mark.parametrize("exponent", [-24, LARGEST_SHIFT + 1])
def test_ratios_beyond_the_shifter_are_refused(exponent: int) -> None:
    with pytest.raises(PassRefusal, match=rf"y: a shift of {exponent} is outside 0..31"):
        shift_for(np.array([1.0, 1.0]), np.array(2.0**exponent), "y")


def quantized(values: list, scale: list | float, shape: tuple[int, ...] = (-1,)) -> Quantized:
    return Quantized("b", np.array(scale), 0, np.array(values, np.int32).reshape(shape))


def test_bias_codes() -> None:
    scale = np.array([0.5, 1.0, 2.0])
    assert bias_codes(None, scale, 3, "y").tolist() == [0, 0, 0]
    assert bias_codes(quantized([1, -2, 3], [0.5, 1, 2]), scale, 3, "y").tolist() == [1, -2, 3]
    assert bias_codes(quantized([1, -2, 3], 0.5, (1, 1, 3)), np.array([0.5]), 3, "y").tolist() == [1, -2, 3]
    assert bias_codes(quantized([1, -2, 3], 0.5, (3, 1)), np.array([0.5]), 3, "y", axis=-2).tolist() == [1, -2, 3]
    assert bias_codes(quantized([7], 0.5), np.array([0.5]), 3, "y").tolist() == [7, 7, 7]


@pytest.mark.parametrize(("bias", "axis", "words"), [
    (quantized([1, 2, 3], [0.5, 1, 4]), -1, "another scale"),
    (quantized([1, 2, 3], 0.5), -1, "another scale"),
    (quantized([1, 2, 3], [0.5, 1, 2], (3, 1)), -1, r"shape \[3, 1\]; .*\[3\]"),
    (quantized([1, 2, 3], [0.5, 1, 2]), -2, r"shape \[3\]; .*\[3, 1\]"),
    (quantized([1, 2], 0.5), -1, r"shape \[2\]; .*\[3\]"),
    (quantized([1] * 6, 0.5, (2, 3)), -1, r"shape \[2, 3\]; .*\[3\]"),
])  # fmt: skip
def test_a_bias_of_another_scale_or_shape_is_refused(bias: Quantized, axis: int, words: str) -> None:
    with pytest.raises(PassRefusal, match=f"^fc: .*{words}"):
        bias_codes(bias, np.array([0.5, 1.0, 2.0]), 3, "fc", axis=axis)


def test_what_counts_as_quantized() -> None:
    graph = Graph(
        ModelWrapper(
            parse("""
        g (int8[N,2] q, float[N,2] f, float s2) => (float[N,2] y)
        <float s = {0.5}, int8 z = {0}, int8 three = {3}, float[2] ss = {0.5, 1}, int8[2] zz = {0, 0}, int8[2] w = {1, 2}>
        { a = DequantizeLinear (q, s, z)
          b = DequantizeLinear (q, s, three)
          c = DequantizeLinear <axis = 1> (q, ss, zz)
          d = DequantizeLinear (q, s2, z)
          e = DequantizeLinear <axis = 0> (w, ss)
          y = Sum (a, b, c, d, e, f) }""")
        )
    )
    assert activation(graph, "a").tensor == "q" and activation(graph, "a").scale == 0.5
    assert dequantized(graph, "b") is None  # a zero point
    assert activation(graph, "c") is None and dequantized(graph, "c").axis == 1  # scales per channel
    assert dequantized(graph, "d") is None  # a computed scale
    assert activation(graph, "e") is None and parameter(graph, "e").value.tolist() == [1, 2]
    assert parameter(graph, "a") is None and dequantized(graph, "f") is None


def test_equal_values_become_one() -> None:
    assert scalar_if_equal(np.array([3, 3, 3])).tolist() == [3]
    assert scalar_if_equal(np.array([3, 4, 3])).tolist() == [3, 4, 3]
    assert scalar_if_equal(np.array(3)).tolist() == [3]
