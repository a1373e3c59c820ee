"""Transpose of a constant or of a quantized constant -> the transposed constant."""

import numpy as np

from passes.fold_weight_transpose import FoldWeightTranspose
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

X = np.arange(-6, 6, dtype=np.float32).reshape(6, 2)
QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND">'


def test_a_constant_is_stored_transposed() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,3] y) <float[3,2] w = {1, 4, 2, 5, 3, 6}>
        { t = Transpose <perm = [1, 0]> (w)
          y = MatMul (x, t) }""")
    after = apply(before, FoldWeightTranspose())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}>
        { y = MatMul (x, w) }""",
    )
    assert_equal_values(before, after, x=X)


def test_without_perm_the_axes_are_reversed() -> None:
    after = apply(
        parse("""
        g (float[N,2] x) => (float[N,3] y) <float[3,2] w = {1, 4, 2, 5, 3, 6}>
        { t = Transpose (w)
          y = MatMul (x, t) }"""),
        FoldWeightTranspose(),
    )
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}>
        { y = MatMul (x, w) }""",
    )


def test_a_quantized_constant_is_transposed_with_its_scales() -> None:
    before = parse(f"""
        g (float[N,2] x) => (float[N,3] y)
        <float[3,2] w = {{1, 4, 2, 5, 3, 6}}, float[3,1] s = {{0.5, 1, 2}}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           t = Transpose <perm = [1, 0]> (q)
           y = MatMul (x, t) }}""")
    after = apply(before, FoldWeightTranspose())
    assert_same(
        after,
        f"""
        g (float[N,2] x) => (float[N,3] y)
        <float[2,3] w = {{1, 2, 3, 4, 5, 6}}, float[1,3] s = {{0.5, 1, 2}}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           y = MatMul (x, q) }}""",
    )
    assert_equal_values(before, after, x=X)


def test_scales_of_lower_rank_than_the_weight_follow_their_axis() -> None:
    before = parse(f"""
        g (float[N,2] x) => (float[N,3] y)
        <float[3,2] w = {{1, 4, 2, 5, 3, 6}}, float[2] s = {{0.5, 2}}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           t = Transpose <perm = [1, 0]> (q)
           y = MatMul (x, t) }}""")
    after = apply(before, FoldWeightTranspose())
    assert_same(
        after,
        f"""
        g (float[N,2] x) => (float[N,3] y)
        <float[2,3] w = {{1, 2, 3, 4, 5, 6}}, float[2,1] s = {{0.5, 2}}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           y = MatMul (x, q) }}""",
    )
    assert_equal_values(before, after, x=X)


def test_a_weight_that_is_used_both_ways_is_kept_for_the_other_use() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,2] y, float[N,2] z) <float[2,2] w = {1, 2, 3, 4}>
        { t = Transpose <perm = [1, 0]> (w)
          y = MatMul (x, t)
          z = MatMul (x, w) }""")
    after = apply(before, FoldWeightTranspose())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,2] y, float[N,2] z) <float[2,2] w = {1, 2, 3, 4}, float[2,2] t = {1, 3, 2, 4}>
        { y = MatMul (x, t)
          z = MatMul (x, w) }""",
    )
    assert_equal_values(before, after, x=X)


def test_an_activation_keeps_its_transpose() -> None:
    assert_untouched(
        parse("""
        g (float[N,2,3] x) => (float[N,3,2] y)
        { y = Transpose <perm = [0, 2, 1]> (x) }"""),
        FoldWeightTranspose(),
    )
