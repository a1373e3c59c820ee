"""Q(DQ(a) + DQ(b)) -> one Requant of the shifted sum, exact for every pair of codes."""

import numpy as np
import pytest

from passes.residual_to_integer import ResidualToInteger
from passes.scaling import errors_of
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_pair, parse, refusal, run


def residual(a: float, b: float, out: float, body: str = "t = Add (x, y)") -> str:
    return f"""
        g (int8[N,1] p, int8[N,1] q) => (int8[N,1] r)
        <float as = {{{a}}}, float bs = {{{b}}}, float rs = {{{out}}}, int8 z = {{0}}>
        {{ x = DequantizeLinear (p, as, z)
           y = DequantizeLinear (q, bs, z)
           {body}
           [sum_quantize] r = QuantizeLinear (t, rs, z) }}"""


def pairs() -> dict:
    p, q = every_pair()
    return {"p": p[:, None], "q": q[:, None]}


REQUANT = 'psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127>'


def test_the_coarser_operand_is_shifted_left() -> None:
    after = apply(parse(residual(0.5, 0.0625, 1.0)), ResidualToInteger())
    assert_same(
        after,
        f"""
        g (int8[N,1] p, int8[N,1] q) => (int8[N,1] r) <int32 f = {{8}}, int32[1] one = {{1}}, int32[1] none = {{0}}, int32[1] shift = {{4}}>
        {{ a = Cast <to = 6> (p)
           s = Mul (a, f)
           b = Cast <to = 6> (q)
           t = Add (s, b)
           r = {REQUANT} (t, one, none, shift) }}""",
    )


def test_equal_scales_need_no_left_shift_and_a_finer_output_a_multiplier() -> None:
    after = apply(parse(residual(0.5, 0.5, 0.25)), ResidualToInteger())
    assert_same(
        after,
        f"""
        g (int8[N,1] p, int8[N,1] q) => (int8[N,1] r) <int32[1] two = {{2}}, int32[1] none = {{0}}, int32[1] shift = {{0}}>
        {{ a = Cast <to = 6> (p)
           b = Cast <to = 6> (q)
           t = Add (a, b)
           r = {REQUANT} (t, two, none, shift) }}""",
    )


@pytest.mark.parametrize(("a", "b", "out"), [
    (0.5, 0.5, 0.5), (0.5, 0.5, 1.0), (0.5, 0.0625, 1.0), (0.0625, 0.5, 2.0), (0.5, 0.125, 0.25), (0.5, 0.5, 0.125), (2.0**-8, 2.0**2, 4.0),
    (2.0**-8, 2.0**-7, 16.0), (1.0, 2.0**-16, 2.0),
])  # fmt: skip
def test_every_pair_of_codes_gives_the_same_code(a: float, b: float, out: float) -> None:
    before = parse(residual(a, b, out))
    after = apply(before, ResidualToInteger())
    assert "QuantizeLinear" not in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, **pairs())


def test_a_tensor_added_to_itself_is_doubled() -> None:
    before = parse(residual(0.5, 0.5, 1.0, "t = Add (x, x)"))
    assert_equal_values(before, apply(before, ResidualToInteger()), **pairs())


def test_a_sum_that_is_quantized_twice_serves_both() -> None:
    before = parse(
        residual(0.5, 0.25, 1.0, "t = Add (x, y) v = QuantizeLinear (t, bs, z)").replace("(int8[N,1] r)", "(int8[N,1] r, int8[N,1] v)")
    )
    after = apply(before, ResidualToInteger())
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in after.graph.node}
    assert_equal_values(before, after, **pairs())


@pytest.mark.parametrize("body", ["t = Sub (x, y)", "u = Relu (y) t = Add (x, u)", "t = Add (x, bs)"])
def test_what_is_no_sum_of_two_quantized_tensors_is_left_alone(body: str) -> None:
    assert_untouched(parse(residual(0.5, 0.5, 1.0, body)), ResidualToInteger())


@pytest.mark.parametrize(("a", "b", "out"), [(0.5127, 0.3031, 1.0), (0.5, 0.5, 0.7013), (0.3017, 0.3017, 1.0), (0.013, 1.7, 0.4), (0.11, 0.09, 0.003), (3.0, 1e-3, 9.0)])
@pytest.mark.parametrize(("zeros", "body"), [((0, 0, 0), "t = Add (x, y)"), ((-128, 17, 3), "t = Add (x, y)"), ((5, -9, -128), "s = Add (x, y) t = Relu (s)")])
def test_scales_of_any_kind_and_zero_points_are_off_by_one_code_at_a_boundary_at_most(a: float, b: float, out: float, zeros: tuple, body: str) -> None:
    text = residual(a, b, out, body).replace("int8 z = {0}", ", ".join(f"int8 z{r} = {{{z}}}" for r, z in zip("abr", zeros, strict=True)))
    before = parse(text.replace("(p, as, z)", "(p, as, za)").replace("(q, bs, z)", "(q, bs, zb)").replace("(t, rs, z)", "(t, rs, zr)"))
    after = apply(before, ResidualToInteger())
    (bound,) = errors_of(after).values()
    p, q = (v.ravel().astype(np.float64) for v in pairs().values())
    scales = [float(np.float32(v)) for v in (a, b, out)]
    real = ((p - zeros[0]) * scales[0] + (q - zeros[1]) * scales[1]) / scales[2]
    real = np.clip((np.maximum(real, 0) if "Relu" in body else real) + zeros[2], -128, 127)
    codes = run(after, **pairs())[0].ravel()
    assert np.abs(codes - real).max() <= 0.5 + bound[0] < 0.51
    assert (codes != run(before, **pairs())[0].ravel()).mean() < 1e-3


REFUSALS = {
    "shift": (residual(2.0**-16, 2.0**-16, 2.0**16), ("r: a ratio of scales of", "codes off with a shift of 31")),
    "shapes": (residual(0.5, 0.5, 1.0).replace("int8[N,1] q", "int8[1] q"), ("r: a sum of tensors of shapes", "equal shapes")),
    "coarse operands": (residual(1e9, 0.3, 1e-3), ("r: operands at", "of the output's scale")),
    "far apart": (residual(1.0, 2.0**-17, 1.0), ("r: ", "2**17", "2**16", "2**24")),
    "further apart": (residual(1.0, 2.0**-32, 1.0), ("r: ", "2**32", "2**16")),
}


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), ResidualToInteger())
    for word in words:
        assert word in message
