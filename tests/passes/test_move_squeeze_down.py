"""MatVec(Squeeze(x)) -> Squeeze(MatVec(x))."""

import numpy as np

from passes.move_squeeze_down import MoveSqueezeDown
from tests.passes.graphs import apply, assert_same, assert_untouched, parse, run

CONSTANTS = "int64[1] axis = {1}, int8[3,2] w = {1, 2, 3, 4, 5, 6}, int32[3] b = {7, 8, 9}"


def test_the_token_axis_is_dropped_behind_the_unit() -> None:
    before = parse(f"""
        g (int8[N,1,2] x) => (int32[N,3] y) <{CONSTANTS}>
        {{ s = Squeeze (x, axis)
           y = psaflow.hw.MatVec (s, w, b) }}""")
    after = apply(before, MoveSqueezeDown())
    assert_same(
        after,
        f"""
        g (int8[N,1,2] x) => (int32[N,3] y) <{CONSTANTS}>
        {{ u = psaflow.hw.MatVec (x, w, b)
           y = Squeeze (u, axis) }}""",
    )
    codes = np.random.default_rng(0).integers(-128, 128, (50, 1, 2)).astype(np.int8)
    expected = codes[:, 0].astype(int) @ np.array([[1, 3, 5], [2, 4, 6]]) + [7, 8, 9]
    assert (run(after, x=codes)[0] == expected).all()


def test_a_squeeze_that_others_read_stays_for_them() -> None:
    after = apply(
        parse(f"""
        g (int8[N,1,2] x) => (int32[N,3] y, int8[N,2] s) <{CONSTANTS}>
        {{ s = Squeeze (x, axis)
           y = psaflow.hw.MatVec (s, w, b) }}"""),
        MoveSqueezeDown(),
    )
    assert_same(
        after,
        f"""
        g (int8[N,1,2] x) => (int32[N,3] y, int8[N,2] s) <{CONSTANTS}>
        {{ u = psaflow.hw.MatVec (x, w, b)
           y = Squeeze (u, axis)
           s = Squeeze (x, axis) }}""",
    )


def test_a_unit_without_a_squeeze_is_left_alone() -> None:
    assert_untouched(
        parse(f"""
        g (int8[N,1,2] x) => (int32[N,1,3] y) <{CONSTANTS}>
        {{ y = psaflow.hw.MatVec (x, w, b) }}"""),
        MoveSqueezeDown(),
    )
