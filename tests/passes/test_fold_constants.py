"""Arithmetic on constants is done once."""

import numpy as np
import pytest

from passes.fold_constants import FoldConstants
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, constant, node, parse

CONSTANTS = """<float[2,3] w = {0.5, 1.5, -63.5, -64, 64, -100}, float s = {0.5}, int8 z = {0}, int8 low = {-31}, int8 high = {31},
    int64[2] shape = {3, 2}, float[1,1] big = {1}>"""


def graph(nodes: str) -> str:
    return f"g (float[N,2,3] x) => (float[N,2,3] y) {CONSTANTS} {{ {nodes} }}"


def test_a_weight_that_the_graph_quantizes_and_clips_becomes_its_integers() -> None:
    before = parse(graph("q = QuantizeLinear (w, s, z) c = Clip (q, low, high) v = DequantizeLinear (c, s, z) y = Mul (x, v)"))
    after = apply(before, FoldConstants())
    assert [n.op_type for n in after.graph.node] == ["DequantizeLinear", "Mul"]  # what an integer is worth stays
    codes = constant(after, node(after, "DequantizeLinear").input[0])
    assert codes.dtype == np.int8 and codes.tolist() == [[1, 3, -31], [-31, 31, -31]]
    assert_equal_values(before, after, x=np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32))


@pytest.mark.parametrize("nodes", ["a = Neg (w) y = Mul (x, a)", "a = Sqrt (s) y = Mul (x, a)", "a = Mul (w, s) b = Add (a, s) y = Mul (x, b)"])
def test_arithmetic_is_that_of_onnxruntime(nodes: str) -> None:
    before = parse(graph(nodes))
    after = apply(before, FoldConstants())
    assert [n.op_type for n in after.graph.node] == ["Mul"]
    assert_equal_values(before, after, x=np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32))


@pytest.mark.parametrize("nodes", [
    "v = DequantizeLinear (z, s) y = Mul (x, v)",  # a parameter
    "y = Mul (x, w)",  # an activation
    "v = Sin (w) y = Mul (x, v)",  # an op that no exporter puts there
])  # fmt: skip
def test_the_rest_stays(nodes: str) -> None:
    assert_untouched(parse(graph(nodes)), FoldConstants())


def test_a_result_that_would_be_larger_than_memory_likes_is_not_made() -> None:
    model = parse("g (float[N] x) => (float[N] y) <float s = {2}> { y = Mul (x, s) }")
    from onnx import helper, numpy_helper

    for name, shape in (("column", (2**14, 1)), ("row", (1, 2**14))):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    model.graph.node.insert(0, helper.make_node("Mul", ["column", "row"], ["table"], name="table"))
    assert "table" in [n.name for n in apply(model, FoldConstants()).graph.node]
