"""Requant of the sum over tokens -> TokenMean."""

import pytest

from passes.fuse_token_mean import FuseTokenMean
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse


def mean(*, axes: str = "{1}", keep: int = 0, shift: str = "int32[1] s = {3}", mult: int = 1, bias: int = 0, kind: str = "int8",
         more: str = "", outputs: str = "") -> str:  # fmt: skip
    shape = "[N,1,2]" if keep else "[N,2]"
    return f"""
        g ({kind}[N,4,2] x{more}) => (int8{shape} y{outputs})
        <int64[1] axes = {axes}, int32[1] m = {{{mult}}}, int32[1] b = {{{bias}}}, {shift}>
        {{ c = Cast <to = 6> (x) t = ReduceSum <keepdims = {keep}> (c, axes)
           [mean] y = psaflow.Requant <axis = -1, rounding = "HALF_UP", lo = -100, hi = 127> (t, m, b, s) }}"""


@pytest.mark.parametrize("axes", ["{1}", "{-2}"])
def test_a_requantized_sum_over_tokens_becomes_one_node_exact_for_every_code(axes: str) -> None:
    before = parse(mean(axes=axes))
    after = apply(before, FuseTokenMean())
    assert_same(after, """
        g (int8[N,4,2] x) => (int8[N,2] y)
        { y = psaflow.TokenMean <shift = 3, rounding = "HALF_UP", lo = -100, hi = 127> (x) }""")  # fmt: skip
    assert after.graph.node[0].name == "mean"
    assert_equal_values(before, after, x=every_code(4, 2))


@pytest.mark.parametrize("text", [
    mean(axes="{2}").replace("int8[N,2] y", "int8[N,4] y"), mean(keep=1), mean(shift="int32[2] s = {3, 4}"), mean(mult=2), mean(bias=1),
    mean(kind="uint8"), mean(outputs=", int32[N,2] t"), mean(shift="int32[1] z = {1}", more=", int32[1] s"),
], ids=["over channels", "axis kept", "shift per channel", "multiplier", "bias", "uint8", "others read it", "computed shift"])  # fmt: skip
def test_another_sum_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseTokenMean())
