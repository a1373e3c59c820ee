"""layout(DequantizeLinear(q)) -> DequantizeLinear(layout(q))."""

import pytest

from passes.move_dequantize_down import MoveDequantizeDown
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse

CONSTANTS = "float s = {0.25}, int8 z = {0}, int64[2] flat = {-1, 6}"


@pytest.mark.parametrize(
    ("layout", "shape"), [("Reshape <allowzero = 1> (_, flat)", "[N,6]"), ("Transpose <perm = [2, 0, 1]> (_)", "[3,N,2]")]
)
def test_it_moves_behind(layout: str, shape: str) -> None:
    before = parse(f"""
        g (int8[N,2,3] q) => (float{shape} y) <{CONSTANTS}>
        {{ x = DequantizeLinear (q, s, z)
           y = {layout.replace("_", "x")} }}""")
    after = apply(before, MoveDequantizeDown())
    assert_same(
        after,
        f"""
        g (int8[N,2,3] q) => (float{shape} y) <{CONSTANTS}>
        {{ t = {layout.replace("_", "q")}
           y = DequantizeLinear (t, s, z) }}""",
    )
    assert_equal_values(before, after, q=every_code(2, 3))


def test_it_moves_behind_several_and_both_branches() -> None:
    before = parse(f"""
        g (int8[N,2,3] q) => (float[6,M] y, float[N,2,3] r) <{CONSTANTS}>
        {{ x = DequantizeLinear (q, s, z)
           t = Reshape (x, flat)
           y = Transpose <perm = [1, 0]> (t)
           r = Relu (x) }}""")
    after = apply(before, MoveDequantizeDown())
    assert_same(
        after,
        f"""
        g (int8[N,2,3] q) => (float[6,M] y, float[N,2,3] r) <{CONSTANTS}>
        {{ t = Reshape (q, flat)
           u = Transpose <perm = [1, 0]> (t)
           y = DequantizeLinear (u, s, z)
           x = DequantizeLinear (q, s, z)
           r = Relu (x) }}""",
    )
    assert_equal_values(before, after, q=every_code(2, 3))


def test_a_constant_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (float[N,2] x) => (float[N,2] y) <int8[2,2] w = {1, 2, 3, 4}, float s = {0.25}>
        { d = DequantizeLinear (w, s)
          t = Transpose <perm = [1, 0]> (d)
          y = MatMul (x, t) }"""),
        MoveDequantizeDown(),
    )


def test_scales_along_an_axis_keep_their_axis() -> None:
    before = parse("""
        g (int8[N,2,3] q) => (float[N,3,2] y) <float[2] s = {0.25, 1}, int8[2] z = {0, 0}>
        { x = DequantizeLinear <axis = 1> (q, s, z)
          y = Transpose <perm = [0, 2, 1]> (x) }""")
    assert_equal_values(before, apply(before, MoveDequantizeDown()), q=every_code(2, 3))


def test_an_element_wise_op_is_not_passed() -> None:
    assert_untouched(
        parse(f"""
        g (int8[N,2,3] q) => (float[N,2,3] y) <{CONSTANTS}>
        {{ x = DequantizeLinear (q, s, z)
           y = Relu (x) }}"""),
        MoveDequantizeDown(),
    )
