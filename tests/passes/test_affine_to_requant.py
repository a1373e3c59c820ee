"""A per-channel affine between two quantizers -> one Requant with a multiplier."""

import numpy as np
import pytest

from passes.affine_to_requant import AffineToRequant
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse


def affine(*, weight: str = "int8[3] w = {127, -3, 1}", weight_scale: str = "float[3] ws = {0.5, 1, 0.03125}",
           bias_scale: str = "float[3] bs = {0.125, 0.25, 0.0078125}", out: float = 2.0, x_scale: float = 0.25,
           body: str = "p = Mul (x, wd) a = Add (p, bd)") -> str:  # fmt: skip
    """Q(x * w + b), x int8 [N, 2, 3] at `x_scale`, at `out`."""
    return f"""
        g (int8[N,2,3] q) => (int8[N,2,3] y)
        <float xs = {{{x_scale}}}, int8 z = {{0}}, {weight}, {weight_scale}, int32[3] b = {{-700, 12, 33}}, {bias_scale},
         float ys = {{{out}}}>
        {{ x = DequantizeLinear (q, xs, z)
           wd = DequantizeLinear <axis = 0> (w, ws)
           bd = DequantizeLinear <axis = 0> (b, bs)
           {body}
           [sum_quantize] y = QuantizeLinear (a, ys, z) }}"""


def test_it_becomes_one_multiply_add_and_shift_exactly_for_every_code() -> None:
    before = parse(affine())
    after = apply(before, AffineToRequant())
    assert_same(
        after,
        """
        g (int8[N,2,3] q) => (int8[N,2,3] y)
        <int32[3] mult = {127, -3, 1}, int32[3] bias = {-700, 12, 33}, int32[3] shift = {4, 3, 8}>
        { y = psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127> (q, mult, bias, shift) }""",
    )
    assert_equal_values(before, after, q=every_code(2, 3))


def test_without_a_bias_the_bias_is_zero() -> None:
    before = parse(affine(body="a = Mul (x, wd)"))
    after = apply(before, AffineToRequant())
    assert_same(
        after,
        """
        g (int8[N,2,3] q) => (int8[N,2,3] y)
        <int32[3] mult = {127, -3, 1}, int32[3] bias = {0, 0, 0}, int32[3] shift = {4, 3, 8}>
        { y = psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127> (q, mult, bias, shift) }""",
    )
    assert_equal_values(before, after, q=every_code(2, 3))


def test_one_scale_for_all_weights_gives_one_shift() -> None:
    before = parse(affine(weight_scale="float ws = {0.5}", bias_scale="float bs = {0.125}"))
    after = apply(before, AffineToRequant())
    assert_same(
        after,
        """
        g (int8[N,2,3] q) => (int8[N,2,3] y)
        <int32[3] mult = {127, -3, 1}, int32[3] bias = {-700, 12, 33}, int32[1] shift = {4}>
        { y = psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127> (q, mult, bias, shift) }""",
    )
    assert_equal_values(before, after, q=every_code(2, 3))


@pytest.mark.parametrize("shift", range(12))
def test_ties_round_to_even_at_every_shift(shift: int) -> None:
    before = parse(affine(weight="int8[3] w = {1, -1, 3}", weight_scale="float ws = {1}", bias_scale="float bs = {0.25}",
                          out=0.25 * 2**shift))  # fmt: skip
    after = apply(before, AffineToRequant())
    assert [n.op_type for n in after.graph.node] == ["Requant"]
    assert_equal_values(before, after, q=every_code(2, 3))


def test_an_accumulator_coarser_than_the_output_is_left_to_a_table() -> None:
    assert_untouched(parse(affine(out=2.0**-6)), AffineToRequant())


def test_float_weights_are_left_to_a_table() -> None:
    text = affine().replace("wd = DequantizeLinear <axis = 0> (w, ws)", "").replace("int8[3] w", "float[3] wd").replace(
        "float[3] ws = {0.5, 1, 0.03125},", "")  # fmt: skip
    assert_untouched(parse(text), AffineToRequant())


def test_a_product_of_two_activations_is_left_alone() -> None:
    assert_untouched(parse(affine(body="a = Mul (x, x)")), AffineToRequant())


def test_a_parameter_per_token_is_left_alone() -> None:
    text = affine(weight="int8[2,1] w = {1, 2}", weight_scale="float ws = {0.5}", bias_scale="float bs = {0.125}")
    assert_untouched(parse(text), AffineToRequant())


def test_a_product_that_is_read_elsewhere_stays_for_the_other() -> None:
    before = parse(
        affine().replace("(int8[N,2,3] y)", "(int8[N,2,3] y, float[N,2,3] r)").replace("[sum_quantize]", "r = Relu (p)\n[sum_quantize]")
    )
    after = apply(before, AffineToRequant())
    assert "Requant" in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, q=every_code(2, 3))


INEXACT = {
    "bias at a finer scale": affine(bias_scale="float[3] bs = {0.0625, 0.25, 0.00390625}"),
    "weight scale": affine(weight_scale="float ws = {0.75}"),
    "output scale": affine(out=0.7),
    "shift": affine(out=2.0**29),
    "zero point of x": affine().replace("DequantizeLinear (q, xs, z)", "DequantizeLinear (q, xs, three)").replace("int8 z = {0}", "int8 z = {0}, int8 three = {3}"),
    "zero point of y": affine().replace("(a, ys, z)", "(a, ys, three)").replace("int8 z = {0}", "int8 z = {0}, int8 three = {3}"),
}


@pytest.mark.parametrize("text", INEXACT.values(), ids=INEXACT)
def test_what_multiplier_and_shift_would_not_give_exactly_is_left_to_a_table(text: str) -> None:
    assert_untouched(parse(text), AffineToRequant())


def test_the_widest_weights_and_biases_are_exact() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, 200)
    biases = rng.integers(-(2**23), 2**23, 200)
    before = parse(f"""
        g (int8[N,200] q) => (int8[N,200] y)
        <float xs = {{0.25}}, int8 z = {{0}}, int8[200] w = {{{", ".join(map(str, weights))}}}, float ws = {{0.5}},
         int32[200] b = {{{", ".join(map(str, biases))}}}, float bs = {{0.125}}, float ys = {{8192}}>
        {{ x = DequantizeLinear (q, xs, z)
           wd = DequantizeLinear (w, ws)
           bd = DequantizeLinear (b, bs)
           p = Mul (x, wd)
           a = Add (p, bd)
           y = QuantizeLinear (a, ys, z) }}""")
    assert_equal_values(before, apply(before, AffineToRequant()), q=every_code(200))
