"""Requant of a product along channels -> Linear."""

import numpy as np
import pytest

from passes.fuse_linear import FuseLinear
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse

CONSTANTS = "<int8[2,3] w = {1, -2, 3, -128, 5, 127}, int32[1] m = {1}, int32[3] b = {5, -6, 7}, int32[3] s = {1, 2, 8}>"


def layer(more: str = "", *, nodes: str = "a = MatMulInteger (x, w)", constants: str = CONSTANTS, axis: int = -1, outputs: str = "") -> str:
    return f"""
        g (int8[N,4,2] x{more}) => (int8[N,4,3] y{outputs})
        {constants}
        {{ {nodes} [fc] y = psaflow.Requant <axis = {axis}, rounding = "HALF_UP", lo = 0, hi = 100> (a, m, b, s) }}"""


def test_a_product_and_its_requantization_become_one_node_exact_for_every_code() -> None:
    before = parse(layer())
    after = apply(before, FuseLinear())
    assert_same(after, f"""
        g (int8[N,4,2] x) => (int8[N,4,3] y)
        {CONSTANTS}
        {{ y = psaflow.Linear <rounding = "HALF_UP", lo = 0, hi = 100> (x, w, m, b, s) }}""")  # fmt: skip
    assert after.graph.node[0].name == "fc"
    assert_equal_values(before, after, x=every_code(4, 2))


@pytest.mark.parametrize("text", [
    layer(axis=-2, constants=CONSTANTS.replace("[3]", "[4]").replace("{5, -6, 7}", "{5, -6, 7, 8}").replace("{1, 2, 8}", "{1, 2, 8, 9}")),
    layer(", int8[2,3] v", nodes="a = MatMulInteger (x, v)"),
    layer(", int8 z", nodes="a = MatMulInteger (x, w, z)"),
    layer(", int32[3] t", nodes="c = MatMulInteger (x, w) a = Add (c, t)"),
    layer(outputs=", int32[N,4,3] a"),
    layer().replace("int8[N,4,2] x", "uint8[N,4,2] x"),
    layer(", int32[3] b", constants=CONSTANTS.replace("int32[3] b = {5, -6, 7}, ", "")),
    layer(constants=CONSTANTS.replace("int32[1] m = {1}", "int32[1,3] m = {1, 2, 3}")),
    layer(nodes="a = MatMulInteger (w, x)").replace("[N,4,", "[N,3,").replace("[2,3] w", "[3,3] w").replace("{1, -2, 3, -128, 5, 127}", "{1, 2, 3, 4, 5, 6, 7, 8, 9}").replace("x)", "x)").replace("int8[N,3,2] x", "int8[N,3,3] x"),
], ids=["along tokens", "computed weights", "zero point", "bias between", "others read it", "uint8", "computed bias", "a parameter of rank 2", "from the left"])  # fmt: skip
def test_another_product_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseLinear())


def test_a_layer_that_could_leave_int32_is_left_alone() -> None:
    weights = ", ".join(["1"] * 65537)
    text = layer(constants=f"<int8[65537,1] w = {{{weights}}}, int32[1] m = {{1}}, int32[1] b = {{0}}, int32[1] s = {{0}}>")
    model = parse(text.replace("[N,4,2] x", "[N,4,65537] x").replace("[N,4,3] y", "[N,4,1] y"))
    assert_untouched(model, FuseLinear())
    assert np.prod([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]) == 4 * 65537
