"""Transpose of a Transpose that it undoes -> nothing."""

import numpy as np
import pytest

from passes.cancel_transposes import CancelTransposes
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse


def two(first: list[int], second: list[int], behind: str = "y = Neg (b)", more: str = "") -> str:
    return f"""g (float[2,3,4] x) => (float[a,b,c] y{more}) {{ a = Transpose <perm = {first}> (x)
               b = Transpose <perm = {second}> (a) {behind} }}"""  # fmt: skip


@pytest.mark.parametrize(("first", "second"), [([0, 2, 1], [0, 2, 1]), ([1, 2, 0], [2, 0, 1]), ([0, 1, 2], [0, 1, 2])])
def test_a_transpose_and_its_inverse_go(first: list[int], second: list[int]) -> None:
    before = parse(two(first, second))
    after = apply(before, CancelTransposes())
    assert_same(after, "g (float[2,3,4] x) => (float[2,3,4] y) { y = Neg (x) }")
    assert_equal_values(before, after, x=np.arange(24, dtype=np.float32).reshape(2, 3, 4))


def test_an_output_keeps_its_name_and_another_reader_its_tensor() -> None:
    before = parse(two([1, 2, 0], [2, 0, 1], "y = Neg (a)", ", float[2,3,4] b"))
    after = apply(before, CancelTransposes())
    assert sorted(n.op_type for n in after.graph.node) == ["Identity", "Neg", "Transpose"]
    assert_equal_values(before, after, x=np.arange(24, dtype=np.float32).reshape(2, 3, 4))


@pytest.mark.parametrize(("first", "second"), [([1, 2, 0], [1, 2, 0]), ([0, 2, 1], [1, 0, 2])])
def test_other_pairs_stay(first: list[int], second: list[int]) -> None:
    assert_untouched(parse(two(first, second)), CancelTransposes())
