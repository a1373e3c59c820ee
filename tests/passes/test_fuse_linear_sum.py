"""A product with a bias as the result -> LinearSum."""

import pytest

from passes.fuse_linear_sum import FuseLinearSum
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse


def head(add: str = "y = Add (a, b)", *, bias: str = "int32[3] b = {5, -6, 7}", more: str = "", outputs: str = "") -> str:
    return f"""
        g (int8[N,2] x{more}) => (int32[N,3] y{outputs})
        <int8[2,3] w = {{1, -2, 3, -128, 5, 127}}, {bias}>
        {{ a = MatMulInteger (x, w) {add} }}"""


@pytest.mark.parametrize("bias", ["int32[3] b = {5, -6, 7}", "int32[1] b = {5}", "int32 b = {-5}"])
@pytest.mark.parametrize("add", ["y = Add (a, b)", "y = Add (b, a)"])
def test_a_product_with_a_bias_becomes_one_node_exact_for_every_code(add: str, bias: str) -> None:
    before = parse(head(add, bias=bias))
    after = apply(before, FuseLinearSum())
    assert_same(after, f"""
        g (int8[N,2] x) => (int32[N,3] y)
        <int8[2,3] w = {{1, -2, 3, -128, 5, 127}}, {bias}>
        {{ y = psaflow.LinearSum (x, w, b) }}""")  # fmt: skip
    assert after.graph.node[0].name == "y"
    assert_equal_values(before, after, x=every_code(2))


@pytest.mark.parametrize("text", [
    head(bias="int32[1,3] b = {5, -6, 7}"), head(more=", int32[3] c", add="y = Add (a, c)"), head(outputs=", int32[N,3] a"),
    head(add="y = Add (a, a)"), head(add="y = Sub (a, b)"),
], ids=["bias of rank 2", "computed bias", "others read it", "twice itself", "no sum"])  # fmt: skip
def test_another_product_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseLinearSum())
