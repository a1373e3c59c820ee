"""Transpose(MatMul(Transpose(x), W)) -> MatMul(W^T, x)."""

import numpy as np
import pytest

from passes.transposed_matmul import TransposedMatMul
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND">'
X = np.random.default_rng(0).integers(-128, 128, (32, 2, 3)).astype(np.float32)
W = "float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}"
W_T = "float[4,2] w = {1, 5, 2, 6, 3, 7, 4, 8}"


def test_a_transposed_product_multiplies_from_the_left() -> None:
    before = parse(f"""
        g (float[N,2,3] x) => (float[N,4,3] y) <{W}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           p = MatMul (t, w)
           y = Transpose <perm = [0, 2, 1]> (p) }}""")
    after = apply(before, TransposedMatMul())
    assert_same(
        after,
        f"""
        g (float[N,2,3] x) => (float[N,4,3] y) <{W_T}>
        {{ y = MatMul (w, x) }}""",
    )
    assert_equal_values(before, after, x=X)


@pytest.mark.parametrize(("scale", "transposed"), [
    ("float[1,4] s = {1, 2, 0.5, 1}", "float[4,1] s = {1, 2, 0.5, 1}"),
    ("float[4] s = {1, 2, 0.5, 1}", "float[4,1] s = {1, 2, 0.5, 1}"),
    ("float s = {0.5}", "float s = {0.5}"),
])  # fmt: skip
def test_a_quantized_weight_is_transposed_with_its_scales(scale: str, transposed: str) -> None:
    before = parse(f"""
        g (float[N,2,3] x) => (float[N,4,3] y) <{W}, {scale}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           t = Transpose <perm = [0, 2, 1]> (x)
           p = MatMul (t, q)
           y = Transpose <perm = [0, 2, 1]> (p) }}""")
    after = apply(before, TransposedMatMul())
    assert_same(
        after,
        f"""
        g (float[N,2,3] x) => (float[N,4,3] y) <{W_T}, {transposed}, float z = {{0}}, float n = {{8}}>
        {{ q = {QUANT} (w, s, z, n)
           y = MatMul (q, x) }}""",
    )
    assert_equal_values(before, after, x=X)


def test_a_transposed_input_that_is_read_elsewhere_stays_for_the_other() -> None:
    before = parse(f"""
        g (float[N,2,3] x) => (float[N,4,3] y, float[N,3,2] r) <{W}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           p = MatMul (t, w)
           y = Transpose <perm = [0, 2, 1]> (p)
           r = Relu (t) }}""")
    after = apply(before, TransposedMatMul())
    assert_same(
        after,
        f"""
        g (float[N,2,3] x) => (float[N,4,3] y, float[N,3,2] r) <{W_T}>
        {{ y = MatMul (w, x)
           t = Transpose <perm = [0, 2, 1]> (x)
           r = Relu (t) }}""",
    )
    assert_equal_values(before, after, x=X)


def test_a_product_with_a_second_reader_is_left_alone() -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2,3] x) => (float[N,4,3] y, float[N,3,4] p) <{W}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           p = MatMul (t, w)
           y = Transpose <perm = [0, 2, 1]> (p) }}"""),
        TransposedMatMul(),
    )


def test_a_product_of_two_activations_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (float[N,2,3] x, float[2,4] w) => (float[N,4,3] y)
        { t = Transpose <perm = [0, 2, 1]> (x)
          p = MatMul (t, w)
          y = Transpose <perm = [0, 2, 1]> (p) }"""),
        TransposedMatMul(),
    )


@pytest.mark.parametrize(("first", "second"), [("[0, 2, 1]", "[1, 0, 2]"), ("[1, 2, 0]", "[0, 2, 1]")])
def test_other_permutations_are_left_alone(first: str, second: str) -> None:
    assert_untouched(
        parse(f"""
        g (float[2,2,2] x) => (float[2,2,2] y) <float[2,2] w = {{1, 2, 3, 4}}>
        {{ t = Transpose <perm = {first}> (x)
           p = MatMul (t, w)
           y = Transpose <perm = {second}> (p) }}"""),
        TransposedMatMul(),
    )


def test_a_weight_of_three_axes_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (float[N,2,3] x) => (float[N,4,3] y) <float[1,2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { t = Transpose <perm = [0, 2, 1]> (x)
          p = MatMul (t, w)
          y = Transpose <perm = [0, 2, 1]> (p) }"""),
        TransposedMatMul(),
    )
