"""What the rewrites to FINN share."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.finn.nodes import accumulator, bits_of, datatype, new_constant, new_stream, parameter_bits, stream_shape
from passes.graph import Graph, PassRefusal
from tests.passes.finn.graphs import annotated


def test_shapes_of_streams() -> None:
    assert stream_shape([0, 64, 96]) == [1, 64, 1, 96]
    assert stream_shape([0, 32, 16, 3]) == [1, 32, 16, 3]
    with pytest.raises(PassRefusal, match=r"\[0, 10\]"):
        stream_shape([0, 10])


@pytest.mark.parametrize(("weight", "bias", "name"), [
    ([[127]], 0, "INT15"), ([[-128]], 0, "INT16"), ([[127, 127]], 1000, "INT17"), ([[0]], 0, "INT2"), ([[0]], 5, "INT4"),
])  # fmt: skip
def test_an_accumulator_is_as_wide_as_its_extremes(weight: list, bias: int, name: str) -> None:
    assert accumulator("fc", np.array(weight, np.int8), np.array([bias])).name == name


def test_an_accumulator_beyond_float32_is_refused() -> None:
    weight = np.full((1, 1031), 127, np.int8)  # 1031 * 127 * 128 is below 2**24
    assert accumulator("fc", weight).name == "INT25"
    with pytest.raises(PassRefusal, match=r"fc: its accumulator reaches -16.*24 bits"):
        accumulator("fc", weight, np.array([-30000]))


def test_widths_of_parameters() -> None:
    assert parameter_bits(np.array([-700, 12]), np.array([9, 3])) == {"biasBits": 11, "shiftBits": 3}
    assert parameter_bits(np.array([0]), np.array([4])) == {"biasBits": 2, "shiftBits": 1}
    assert bits_of(np.array([127, -128])) == 8


def test_new_tensors_carry_their_datatype() -> None:
    graph = Graph(ModelWrapper(annotated("g (int8[N,4,3] x) => (int8[N,4,3] y) { y = Identity (x) }")))
    name = new_stream(graph, "x", "x", accumulator("fc", np.array([[127]], np.int8)))
    assert name != "x"
    assert (datatype(graph, name).name, graph.shape(name)) == ("INT15", [0, 4, 3])
    assert datatype(graph, new_constant(graph, "c", np.zeros(3, np.int32), "INT32")).name == "INT32"


def test_a_tensor_without_an_integer_type_is_refused() -> None:
    graph = Graph(ModelWrapper(annotated("g (float[N,4,3] x) => (float[N,4,3] y) { y = Identity (x) }")))
    with pytest.raises(PassRefusal, match="x: is FLOAT32"):
        datatype(graph, "x")
