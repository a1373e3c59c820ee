"""Requant along tokens of a product from the left -> TokenLinear."""

import pytest

from passes.fuse_token_linear import FuseTokenLinear
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse

CONSTANTS = "<int8[3,2] w = {1, -2, 3, -128, 5, 127}, int32[1] m = {1}, int32[3] b = {5, -6, 7}, int32[3] s = {1, 2, 8}>"


def layer(more: str = "", *, nodes: str = "a = MatMulInteger (w, x)", constants: str = CONSTANTS, axis: int = -2, outputs: str = "") -> str:
    return f"""
        g (int8[N,2,3] x{more}) => (int8[N,3,3] y{outputs})
        {constants}
        {{ {nodes} [mix] y = psaflow.Requant <axis = {axis}, rounding = "HALF_EVEN", lo = -128, hi = 100> (a, m, b, s) }}"""


def test_a_product_and_its_requantization_become_one_node_exact_for_every_code() -> None:
    before = parse(layer())
    after = apply(before, FuseTokenLinear())
    assert_same(after, f"""
        g (int8[N,2,3] x) => (int8[N,3,3] y)
        {CONSTANTS}
        {{ y = psaflow.TokenLinear <rounding = "HALF_EVEN", lo = -128, hi = 100> (x, w, m, b, s) }}""")  # fmt: skip
    assert after.graph.node[0].name == "mix"
    assert_equal_values(before, after, x=every_code(2, 3))


@pytest.mark.parametrize("text", [
    layer(axis=-1), layer(", int8[3,2] v", nodes="a = MatMulInteger (v, x)"), layer(", int8 z", nodes="a = MatMulInteger (w, x, z)"),
    layer(outputs=", int32[N,3,3] a"), layer(", int32[3] s", constants=CONSTANTS.replace(", int32[3] s = {1, 2, 8}", "")),
    layer(nodes="a = MatMulInteger (x, w)").replace("[N,2,3] x", "[N,3,3] x").replace("[3,2] w", "[3,3] w").replace("{1, -2, 3, -128, 5, 127}", "{1, 2, 3, 4, 5, 6, 7, 8, 9}"),
], ids=["along channels", "computed weights", "zero point", "others read it", "computed shift", "from the right"])  # fmt: skip
def test_another_product_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseTokenLinear())
