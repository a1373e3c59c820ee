"""What the integer rewrites share: reading integers and what they are worth."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph, PassRefusal
from passes.quantized import activation, along, code_range, dequantized, output_of, parameter, scalar_if_equal
from tests.passes.graphs import node, parse


def test_what_counts_as_quantized() -> None:
    graph = Graph(
        ModelWrapper(
            parse("""
        g (int8[N,2] q, float[N,2] f, float s2, uint8[N,2] u) => (float[N,2] y)
        <float s = {0.5}, int8 z = {0}, int8 three = {3}, float[2] ss = {0.5, 1}, int8[2] zz = {0, 0}, int8[2] w = {1, 2}, uint8 half = {128}>
        { a = DequantizeLinear (q, s, z)
          b = DequantizeLinear (q, s, three)
          c = DequantizeLinear <axis = 1> (q, ss, zz)
          d = DequantizeLinear (q, s2, z)
          e = DequantizeLinear <axis = 0> (w, ss)
          h = DequantizeLinear (u, s, half)
          y = Sum (a, b, c, d, e, f, h) }""")
        )
    )
    assert activation(graph, "a").tensor == "q" and activation(graph, "a").scale == 0.5
    assert activation(graph, "b").zero == 3
    assert dequantized(graph, "c") is None  # scales per channel of an activation
    assert dequantized(graph, "d") is None  # a computed scale
    assert dequantized(graph, "h") is None  # unsigned codes: SignedActivations comes before
    assert activation(graph, "e") is None and parameter(graph, "e").value.tolist() == [1, 2]
    assert parameter(graph, "a") is None and dequantized(graph, "f") is None


def test_zero_points_are_subtracted_from_constants() -> None:
    graph = Graph(
        ModelWrapper(
            parse("""
        g (float[N,2,3] x) => (float[N,2,3] y)
        <uint8[2,3] w = {0, 1, 2, 253, 254, 255}, float[2] s = {0.5, 1}, uint8[2] z = {128, 254}>
        { v = DequantizeLinear <axis = -2> (w, s, z)
          y = Add (x, v) }""")
        )
    )
    found = parameter(graph, "v")
    assert found.value.tolist() == [[-128, -127, -126], [-1, 0, 1]]
    assert found.axis == 0 and found.real().tolist() == [[-64, -63.5, -63], [-1, 0, 1]]


def test_a_quantizer_gives_its_scale_and_zero_point_or_refuses() -> None:
    def quantizer(zero: str, inputs: str = "(x, s, z)", kind: str = "int8") -> tuple[float, int]:
        model = parse(f"g (float[N,2] x) => ({kind}[N,2] y) <float s = {{0.25}}, {zero}> {{ [q] y = QuantizeLinear {inputs} }}")
        return output_of(Graph(ModelWrapper(model)), node(model, "QuantizeLinear"))

    assert quantizer("int8 z = {-7}") == (0.25, -7)
    with pytest.raises(PassRefusal, match=r"^q: quantizes to uint8 and 1 zero points; supported are 8 bits"):
        quantizer("uint8 z = {7}", kind="uint8")
    with pytest.raises(PassRefusal, match=r"^q: quantizes to a computed zero point"):
        quantizer("int8 z = {7}", "(x, s)", kind="uint8")


@pytest.mark.parametrize(("bits", "signed", "narrow", "expected"), [
    (8, True, False, (-128, 127)), (8, True, True, (-127, 127)), (8, False, False, (0, 255)), (8, False, True, (0, 254)),
    (4, True, True, (-7, 7)), (4, False, False, (0, 15)), (2, True, False, (-2, 1)), (1, False, False, (0, 1)),
])  # fmt: skip
def test_the_range_of_a_quant(bits: int, signed: bool, narrow: bool, expected: tuple[int, int]) -> None:
    assert code_range(bits, signed, narrow) == expected


def test_a_vector_lies_along_its_axis() -> None:
    assert along(np.array([1, 2]), -2, 3).shape == (1, 2, 1)
    assert along(np.array([5]), 0, 3).shape == ()


def test_equal_values_become_one() -> None:
    assert scalar_if_equal(np.array([3, 3, 3])).tolist() == [3]
    assert scalar_if_equal(np.array([3, 4, 3])).tolist() == [3, 4, 3]
    assert scalar_if_equal(np.array(3)).tolist() == [3]
