"""A linear layer between two quantizers -> MatMulInteger and Requant."""

import numpy as np
import pytest

from passes.matmul_to_integer import MatMulToInteger
from passes.scaling import errors_of
from tests.passes.graphs import (
    apply,
    assert_equal_values,
    assert_same,
    assert_untouched,
    assert_within_bounds,
    attributes,
    every_pair,
    parse,
    refusal,
)  # fmt: skip

WEIGHT = "int8[2,3] w = {127, -3, 1, -127, 5, 2}"


def right(*, weight: str = WEIGHT, weight_scale: str = "float[3] ws = {0.5, 1, 0.03125}", axis: int = 1,
          bias: str = "int32[3] b = {-700, 12, 33}", bias_scale: str = "float[3] bs = {0.125, 0.25, 0.0078125}",
          out: float = 8.0, tail: str = "a = Add (p, bd)", head: str = "int8[N,1,2] q", shape: str = "[N,1,3]") -> str:  # fmt: skip
    """Q(x @ W + b), x int8 [N, 1, 2] at 0.25, W [2, 3], at `out`."""
    return f"""
        g ({head}) => (int8{shape} y)
        <float xs = {{0.25}}, int8 z = {{0}}, {weight}, {weight_scale}, {bias}, {bias_scale}, float ys = {{{out}}}>
        {{ x = DequantizeLinear (q, xs, z)
           wd = DequantizeLinear <axis = {axis}> (w, ws)
           bd = DequantizeLinear <axis = 0> (b, bs)
           [fc_matmul] p = MatMul (x, wd)
           {tail}
           y = QuantizeLinear (a, ys, z) }}"""


def left(*, bias: str = "int32[3,1] b = {-700, 12, 33}", bias_scale: str = "float[3] bs = {0.125, 0.25, 0.0078125}", axis: int = 0,
         columns: int = 1, tail: str = "a = Add (p, bd)") -> str:  # fmt: skip
    """Q(W @ x + b), x int8 [N, 2, columns] at 0.25, W [3, 2]."""
    return f"""
        g (int8[N,2,{columns}] q) => (int8[N,3,{columns}] y)
        <float xs = {{0.25}}, int8 z = {{0}}, int8[3,2] w = {{127, -127, -3, 5, 1, 2}}, float[3] ws = {{0.5, 1, 0.03125}},
         {bias}, {bias_scale}, float ys = {{8.0}}>
        {{ x = DequantizeLinear (q, xs, z)
           wd = DequantizeLinear <axis = {axis}> (w, ws)
           bd = DequantizeLinear <axis = 0> (b, bs)
           [fc_matmul] p = MatMul (wd, x)
           {tail}
           y = QuantizeLinear (a, ys, z) }}"""


def rows() -> np.ndarray:
    """int8 [65536, 1, 2]: every pair of codes."""
    return np.stack(every_pair(), -1)[:, None, :]


def result(constants: str, product: str, *, axis: int = -1, lo: int = -128, head: str = "int8[N,1,2] q", shape: str = "[N,1,3]") -> str:
    return f"""
        g ({head}) => (int8{shape} y) <{constants}>
        {{ m = {product}
           y = psaflow.Requant <axis = {axis}, rounding = "HALF_EVEN", lo = {lo}, hi = 127> (m, one, bias, shift) }}"""


PLAIN = f"{WEIGHT}, int32[1] one = {{1}}, int32[3] bias = {{-700, 12, 33}}, int32[3] shift = {{6, 5, 10}}"


def test_weights_on_the_right_give_a_shift_per_channel() -> None:
    before = parse(right())
    after = apply(before, MatMulToInteger())
    assert_same(after, result(PLAIN, "MatMulInteger (q, w)"))
    assert_equal_values(before, after, q=rows())


def test_weights_on_the_left_give_a_shift_per_token() -> None:
    before = parse(left())
    after = apply(before, MatMulToInteger())
    constants = PLAIN.replace(WEIGHT, "int8[3,2] w = {127, -127, -3, 5, 1, 2}")
    assert_same(after, result(constants, "MatMulInteger (w, q)", axis=-2, head="int8[N,2,1] q", shape="[N,3,1]"))
    assert_equal_values(before, after, q=rows().transpose(0, 2, 1))


def test_a_relu_becomes_a_lower_limit_of_zero() -> None:
    before = parse(right(tail="r = Add (p, bd) a = Relu (r)"))
    after = apply(before, MatMulToInteger())
    assert_same(after, result(PLAIN, "MatMulInteger (q, w)", lo=0))
    assert_equal_values(before, after, q=rows())


def test_without_a_bias_the_bias_is_zero() -> None:
    before = parse(right(tail="a = Identity (p)").replace("a = Identity (p)", "").replace("(a, ys", "(p, ys"))
    after = apply(before, MatMulToInteger())
    assert_same(after, result(PLAIN.replace("{-700, 12, 33}", "{0, 0, 0}"), "MatMulInteger (q, w)"))
    assert_equal_values(before, after, q=rows())


def test_one_weight_scale_serves_all_channels() -> None:
    before = parse(right(weight_scale="float ws = {0.5}", bias_scale="float bs = {0.125}"))
    after = apply(before, MatMulToInteger())
    assert_same(after, result(PLAIN.replace("{6, 5, 10}", "{6, 6, 6}"), "MatMulInteger (q, w)"))
    assert_equal_values(before, after, q=rows())


@pytest.mark.parametrize("shift", range(10))
def test_ties_round_to_even_at_every_shift(shift: int) -> None:
    before = parse(right(weight="int8[2,3] w = {1, 1, 3, 1, 0, -1}", weight_scale="float ws = {1}", bias="int32[3] b = {0, 1, -1}",
                         bias_scale="float bs = {0.25}", out=0.25 * 2**shift))  # fmt: skip
    after = apply(before, MatMulToInteger())
    assert [n.op_type for n in after.graph.node] == ["MatMulInteger", "Requant"]
    assert_equal_values(before, after, q=rows())


def test_an_accumulator_coarser_than_the_output_is_multiplied() -> None:
    before = parse(right(weight_scale="float ws = {0.5}", bias_scale="float bs = {0.125}", out=0.03125))
    after = apply(before, MatMulToInteger())
    constants = f"{WEIGHT}, int32[1] one = {{4}}, int32[3] bias = {{-2800, 48, 132}}, int32[3] shift = {{0, 0, 0}}"
    assert_same(after, result(constants, "MatMulInteger (q, w)"))
    assert_equal_values(before, after, q=rows())


def test_a_bias_that_does_not_fit_after_multiplication_is_added_before() -> None:
    before = parse(right(weight_scale="float ws = {0.5}", bias="int32[3] b = {-700, 12, 8000000}", bias_scale="float bs = {0.125}",
                         out=2.0**-18))  # fmt: skip
    after = apply(before, MatMulToInteger())
    assert [n.op_type for n in after.graph.node] == ["MatMulInteger", "Add", "Requant"]
    assert_equal_values(before, after, q=rows())


FLOAT_BIAS = right(bias="float[3] bd = {-7.123, 1.2, 0.033}").replace("bd = DequantizeLinear <axis = 0> (b, bs)", "")
ZEROS = {"int8 z = {0}": "int8 z = {0}, int8 zx = {-128}, int8 zy = {7}", "(q, xs, z)": "(q, xs, zx)", "(a, ys, z)": "(a, ys, zy)"}


def with_zeros(text: str) -> str:
    for old, new in ZEROS.items():
        text = text.replace(old, new)
    return text


NORM = ("int8 z = {0}, float[3] g = {0.7, -1.3, 1e-3}, float[3] o = {0.1, 5, -3}, float[3] mu = {1, 0.2, -0.3}, float[3] va = {0.5, 2, 0.01}",
        "s = Add (p, bd) a = BatchNormalization <epsilon = 1e-3> (s, g, o, mu, va)")
INEXACT = {
    "float bias": FLOAT_BIAS,
    "bias at another scale": right(bias_scale="float[3] bs = {0.125, 0.5, 0.0078125}"),
    "finer bias": right(bias_scale="float[3] bs = {0.012, 0.5, 0.00078125}"),
    "weight scale": right(weight_scale="float[3] ws = {0.5, 0.3, 1}"),
    "output scale": right(out=0.1),
    "coarse output": right(out=77.7),
    "zero points": with_zeros(right(out=1.7)),
    "zero points, relu": with_zeros(right(out=1.7, tail="s = Add (p, bd) a = Relu (s)")),
    "zero points, powers of two": with_zeros(right()),
    "left": left().replace("8.0", "7.7"),
    "left, zero points": with_zeros(left().replace("8.0", "7.7")),
    "batch norm": right(tail=NORM[1], head="int8[N,2] q", shape="[N,3]").replace("int8 z = {0}", NORM[0]),
    "affine": right(tail="s = Mul (p, g) t = Add (s, bd) u = Sub (o, t) a = Div (u, mu)").replace("int8 z = {0}", NORM[0]),
    "clip": right(out=0.77, tail="s = Add (p, bd) a = Clip (s, low, high)").replace("int8 z = {0}", "int8 z = {0}, float low = {-3.3}, float high = {6}"),
}  # fmt: skip


@pytest.mark.parametrize("text", INEXACT.values(), ids=INEXACT)
def test_scales_of_any_kind_stay_within_the_bound(text: str) -> None:
    before = parse(text)
    after = apply(before, MatMulToInteger())
    assert {n.op_type for n in after.graph.node} <= {"MatMulInteger", "Add", "Requant"}
    x = rows() if "q) => (int8[N,1,3]" in text else rows().reshape(-1, 2) if "[N,2] q" in text else rows().transpose(0, 2, 1)
    if errors_of(after):
        assert_within_bounds(before, after, x)
    else:
        assert_equal_values(before, after, q=x)


@pytest.mark.parametrize(("tail", "lo", "hi"), [
    ("s = Add (p, bd) a = Clip (s, , six)", -128, 1), ("s = Add (p, bd) r = Relu (s) a = Clip (r, , six)", 0, 1),
    ("s = Add (p, bd) a = Clip (s, minus, six)", -2, 1),
])  # fmt: skip
def test_a_clip_becomes_limits(tail: str, lo: int, hi: int) -> None:
    before = parse(right(tail=tail).replace("int8 z = {0}", "int8 z = {0}, float six = {6}, float minus = {-16}"))
    after = apply(before, MatMulToInteger())
    requant = next(n for n in after.graph.node if n.op_type == "Requant")
    assert (attributes(requant)["lo"], attributes(requant)["hi"]) == (lo, hi)
    assert_equal_values(before, after, q=rows())


def test_a_linear_layer_whose_sum_has_two_readers_serves_both() -> None:
    before = parse(right(tail="a = Add (p, bd) r = Relu (a) v = QuantizeLinear (r, ys, z)")
                   .replace("(int8[N,1,3] y)", "(int8[N,1,3] y, int8[N,1,3] v)"))  # fmt: skip
    after = apply(before, MatMulToInteger())
    assert sorted(n.op_type for n in after.graph.node) == ["MatMulInteger", "MatMulInteger", "Requant", "Requant"]
    assert_equal_values(before, after, q=rows())


@pytest.mark.parametrize(
    "text",
    [
        right(tail="a = Sigmoid (p)"),  # not a linear layer
        right(head="float[N,1,2] x, int8[N,1,2] q").replace("x = DequantizeLinear (q, xs, z)", ""),  # a float activation
        right().replace("wd = DequantizeLinear <axis = 1> (w, ws)", "").replace("int8[2,3] w", "float[2,3] wd"),  # float weights
    ],
    ids=["sigmoid", "float activation", "float weights"],
)
def test_what_is_not_quantized_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), MatMulToInteger())


REFUSALS = {
    "shift": (right(out=2.0**27), ("y: a ratio of scales of", "codes off with a shift of 31")),
    "batch norm along another axis": (right(tail=NORM[1]).replace("int8 z = {0}", NORM[0]).replace("int8[N,1,2] q", "int8[N,3,2] q").replace(
        "[N,1,3]", "[N,3,3]"), ("y: ", "BatchNormalization a", "axis 1", "axis 2")),
    "division by 0": (right(tail="a = Div (p, o)").replace("int8 z = {0}", "int8 z = {0}, float[3] o = {0.1, 0, -3}"), ("y: Div a divides by 0",)),
    "scales along the inputs": (right(weight_scale="float[2] ws = {0.5, 1}", axis=0), ("y: weight scales along axis 0", "axis 1")),
    "scales along the inputs, left": (left(axis=1).replace("float[3] ws = {0.5, 1, 0.03125}", "float[2] ws = {0.5, 1}"),
                                      ("y: weight scales along axis 1", "axis 0")),
    "wide weights": (right(weight="int32[2,3] w = {1, 2, 3, 4, -500, 6}"), ("y: weights -500..6", "int8")),
    "bias per token, right": (right(bias="int32[3,1] b = {1, 2, 3}", bias_scale="float bs = {0.125}", weight_scale="float ws = {0.5}",
                                    head="int8[N,3,2] q", shape="[N,3,3]"), ("y: ", "bias", "[3, 1]")),
    "bias per channel, left": (left(columns=3, bias="int32[3] b = {1, 2, 3}", bias_scale="float bs = {0.125}")
                               .replace("float[3] ws = {0.5, 1, 0.03125}", "float ws = {0.5}"), ("y: ", "bias", "[3]")),
    "bias per channel, left, other count": (left(columns=2, bias="int32[2] b = {1, 2}", bias_scale="float bs = {0.125}")
                                            .replace("float[3] ws = {0.5, 1, 0.03125}", "float ws = {0.5}"), ("y: ", "bias", "[2]")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), MatMulToInteger())
    for word in words:
        assert word in message
