"""Quant(layout(x)) -> layout(Quant(x)) for one scale."""

import numpy as np
import pytest

from passes.move_quant_up import MoveQuantUp
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'
CONSTANTS = "float s = {0.5}, float z = {0}, float n = {8}, int64[2] flat = {-1, 6}"
X = (np.arange(-600, 600, dtype=np.float32) / 8).reshape(200, 2, 3)  # every code at scale 0.5, and the ties between


@pytest.mark.parametrize(
    ("layout", "shape"), [("Reshape <allowzero = 1> (_, flat)", "[N,6]"), ("Transpose <perm = [2, 0, 1]> (_)", "[3,N,2]")]
)
def test_quant_moves_before(layout: str, shape: str) -> None:
    before = parse(f"""
        g (float[N,2,3] x) => (float{shape} y) <{CONSTANTS}>
        {{ t = {layout.replace("_", "x")}
           y = {QUANT} (t, s, z, n) }}""")
    after = apply(before, MoveQuantUp())
    assert_same(
        after,
        f"""
        g (float[N,2,3] x) => (float{shape} y) <{CONSTANTS}>
        {{ q = {QUANT} (x, s, z, n)
           y = {layout.replace("_", "q")} }}""",
    )
    assert_equal_values(before, after, x=X)


def test_it_moves_past_several() -> None:
    before = parse(f"""
        g (float[N,2,3] x) => (float[6,M] y) <{CONSTANTS}>
        {{ t = Reshape (x, flat)
           u = Transpose <perm = [1, 0]> (t)
           y = {QUANT} (u, s, z, n) }}""")
    after = apply(before, MoveQuantUp())
    assert_same(
        after,
        f"""
        g (float[N,2,3] x) => (float[6,M] y) <{CONSTANTS}>
        {{ q = {QUANT} (x, s, z, n)
           t = Reshape (q, flat)
           y = Transpose <perm = [1, 0]> (t) }}""",
    )
    assert_equal_values(before, after, x=X)


def test_scales_per_channel_stay_where_they_are() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2,3] x) => (float[N,3,2] y) <float[2] s = {{0.5, 1}}, float z = {{0}}, float n = {{8}}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           y = {QUANT} (t, s, z, n) }}"""),
        MoveQuantUp(),
    )


def test_a_scale_that_is_no_constant_stays_where_it_is() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2,3] x, float s) => (float[N,3,2] y) <float z = {{0}}, float n = {{8}}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           y = {QUANT} (t, s, z, n) }}"""),
        MoveQuantUp(),
    )


def test_a_layout_with_a_second_reader_is_left_alone() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2,3] x) => (float[N,3,2] y, float[N,3,2] r) <{CONSTANTS}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           y = {QUANT} (t, s, z, n)
           r = Relu (t) }}"""),
        MoveQuantUp(),
    )


def test_other_ops_are_not_passed() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2,3] x) => (float[N,2,3] y) <{CONSTANTS}>
        {{ t = Relu (x)
           y = {QUANT} (t, s, z, n) }}"""),
        MoveQuantUp(),
    )


def test_a_quantized_constant_is_left_alone() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2] x) => (float[N,2] y) <float[2] w = {{1, 2}}, {CONSTANTS}>
        {{ q = {QUANT} (w, s, z, n)
           y = Add (x, q) }}"""),
        MoveQuantUp(),
    )
