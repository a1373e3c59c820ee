"""Quantizing again to the same scale changes no code."""

import numpy as np
import pytest

from passes.remove_requantization import RemoveRequantization
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse


def graph(first: float, second: float, zeros: tuple[int, int] = (0, 0), tail: str = "y = Neg (v)", outputs: str = "float[N,1] y") -> str:
    return f"""
        g (int8[N,1] q) => ({outputs})
        <float s = {{{first}}}, float t = {{{second}}}, int8 z = {{{zeros[0]}}}, int8 w = {{{zeros[1]}}}>
        {{ x = DequantizeLinear (q, s, z)
           r = QuantizeLinear (x, t, w)
           v = DequantizeLinear (r, t, w)
           {tail} }}"""


@pytest.mark.parametrize("scale", [0.5, 0.1, 3.4e-5, 0.0235, 1e30, *np.random.default_rng(0).uniform(1e-4, 1, 20).astype(np.float32).tolist()])
@pytest.mark.parametrize("zero", [0, -128, 17])
def test_the_second_of_two_goes(scale: float, zero: int) -> None:
    before = parse(graph(scale, scale, (zero, zero)))
    after = apply(before, RemoveRequantization())
    assert "QuantizeLinear" not in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, q=every_code(1))


@pytest.mark.parametrize("text", [
    graph(0.5, 0.25), graph(0.5, 0.5, (0, 1)), graph(0.5, 0.5, tail="y = Identity (r)", outputs="int8[N,1] y, int8[N,1] r"),
])  # fmt: skip
def test_another_scale_or_zero_point_stays(text: str) -> None:
    assert_untouched(parse(text), RemoveRequantization())


def test_its_result_is_that_of_the_first() -> None:
    after = apply(parse(graph(0.5, 0.5)), RemoveRequantization())
    assert_same(after, "g (int8[N,1] q) => (float[N,1] y) <float s = {0.5}, int8 z = {0}> { v = DequantizeLinear (q, s, z) y = Neg (v) }")
