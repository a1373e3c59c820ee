"""Inputs that are constants as well are constants only."""

from onnx import helper

from passes.drop_constant_inputs import DropConstantInputs
from tests.passes.graphs import apply, assert_same, assert_untouched, parse

PLAIN = """
    g (float[N,2] x, float[N,2] z) => (float[N,2] y) <float[2] w = {1, 2}>
    { a = Mul (x, w)
      y = Add (a, z) }"""


def test_a_listed_constant_is_no_input_any_more() -> None:
    model = parse(PLAIN)
    model.graph.input.insert(0, helper.make_tensor_value_info("w", 1, [2]))
    after = apply(model, DropConstantInputs())
    assert [i.name for i in after.graph.input] == ["x", "z"]
    assert_same(after, PLAIN)


def test_inputs_without_a_value_stay() -> None:
    assert_untouched(parse(PLAIN), DropConstantInputs())
