"""Gemm -> MatMul + Add."""

import numpy as np
import pytest

from passes.gemm_to_matmul import GemmToMatMul
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

X = np.arange(-8, 8, dtype=np.float32).reshape(8, 2)


def test_gemm_becomes_matmul_and_add() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}, float[3] b = {0.5, -1, 2}>
        { y = Gemm (x, w, b) }""")
    after = apply(before, GemmToMatMul())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}, float[3] b = {0.5, -1, 2}>
        { p = MatMul (x, w)
          y = Add (p, b) }""",
    )
    assert_equal_values(before, after, x=X)


def test_a_transposed_weight_is_stored_transposed() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,3] y) <float[3,2] w = {1, 4, 2, 5, 3, 6}, float[3] b = {0.5, -1, 2}>
        { y = Gemm <transB = 1, alpha = 1.0, beta = 1.0, transA = 0> (x, w, b) }""")
    after = apply(before, GemmToMatMul())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}, float[3] b = {0.5, -1, 2}>
        { p = MatMul (x, w)
          y = Add (p, b) }""",
    )
    assert_equal_values(before, after, x=X)


def test_a_quantized_weight_is_transposed_inside_its_quantizer() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,3] y)
        <float[3,2] w = {1, 4, 2, 5, 3, 6}, float[3,1] s = {0.5, 1, 2}, float z = {0}, float n = {8}, float[3] b = {1, 2, 3}>
        { q = qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND"> (w, s, z, n)
          y = Gemm <transB = 1> (x, q, b) }""")
    after = apply(before, GemmToMatMul())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y)
        <float[2,3] w = {1, 2, 3, 4, 5, 6}, float[1,3] s = {0.5, 1, 2}, float z = {0}, float n = {8}, float[3] b = {1, 2, 3}>
        { q = qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND"> (w, s, z, n)
          p = MatMul (x, q)
          y = Add (p, b) }""",
    )
    assert_equal_values(before, after, x=X)


def test_gemm_without_bias_is_one_matmul() -> None:
    after = apply(
        parse("""
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}>
        { y = Gemm (x, w) }"""),
        GemmToMatMul(),
    )
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,3] y) <float[2,3] w = {1, 2, 3, 4, 5, 6}>
        { y = MatMul (x, w) }""",
    )


@pytest.mark.parametrize("options", ["alpha = 2.0", "beta = 0.5"])
def test_a_scaled_gemm_is_left_alone(options: str) -> None:
    assert_untouched(
        parse(f"""
        g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, 2, 3, 4}}, float[2] b = {{1, 2}}>
        {{ y = Gemm <{options}> (x, w, b) }}"""),
        GemmToMatMul(),
    )


def test_a_transposed_activation_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] b = {1, 2}>
        { y = Gemm <transA = 1> (x, w, b) }"""),
        GemmToMatMul(),
    )


def test_a_transposed_second_activation_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (float[3,2] x, float[4,2] w) => (float[3,4] y)
        { y = Gemm <transB = 1> (x, w) }"""),
        GemmToMatMul(),
    )
