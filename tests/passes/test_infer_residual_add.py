"""Requant of the sum of two shifted int8 tensors -> ResidualAdd."""

import pytest

from passes.infer_residual_add import InferResidualAdd
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_pair, parse, refusal

PARAMETERS = "int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {4}"


def residual(body: str = "l = Mul (c, eight) t = Add (l, d)", *, parameters: str = PARAMETERS, inputs: str = "", more: str = "") -> str:
    return f"""
        g (int8[N,1] p, int8[N,1] q{inputs}) => (int8[N,1] y{more})
        <int32 eight = {{8}}, int32 two = {{2}}, int32 three = {{3}}, {parameters}>
        {{ c = Cast <to = 6> (p)
           d = Cast <to = 6> (q)
           {body}
           [sum] y = psaflow.Requant <axis = -1, rounding = "HALF_UP", lo = -100, hi = 127> (t, m, b, s) }}"""


def unit(a_shift: int, b_shift: int, shift: int = 4, operands: str = "p, q") -> str:
    return f"""
        g (int8[N,1] p, int8[N,1] q) => (int8[N,1] y)
        {{ y = psaflow.hw.ResidualAdd <a_shift = {a_shift}, b_shift = {b_shift}, shift = {shift}, rounding = "HALF_UP", lo = -100, hi = 127>
             ({operands}) }}"""


def pairs() -> dict:
    p, q = every_pair()
    return {"p": p[:, None], "q": q[:, None]}


@pytest.mark.parametrize(("body", "parameters", "expected"), [
    ("l = Mul (c, eight) t = Add (l, d)", PARAMETERS, unit(3, 0)),
    ("l = Mul (d, eight) t = Add (c, l)", PARAMETERS, unit(0, 3)),
    ("l = Mul (d, eight) t = Add (l, c)", PARAMETERS, unit(3, 0, operands="q, p")),
    ("l = Mul (c, eight) r = Mul (d, two) t = Add (l, r)", PARAMETERS, unit(3, 1)),
    ("t = Add (c, d)", PARAMETERS, unit(0, 0)),
    ("t = Add (c, d)", PARAMETERS.replace("[1]", ""), unit(0, 0)),
    ("l = Mul (c, eight) t = Add (l, d)", PARAMETERS.replace("m = {1}", "m = {4}"), unit(5, 2)),
])  # fmt: skip
def test_a_shifted_sum_becomes_one_unit_exact_for_every_pair(body: str, parameters: str, expected: str) -> None:
    before = parse(residual(body, parameters=parameters))
    after = apply(before, InferResidualAdd())
    assert_same(after, expected)
    assert after.graph.node[0].name == "sum"
    assert_equal_values(before, after, **pairs())


def test_a_sum_that_others_read_stays_for_them() -> None:
    before = parse(residual("t = Add (c, d) r = Neg (t)", more=", int32[N,1] r"))
    after = apply(before, InferResidualAdd())
    assert "ResidualAdd" in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, **pairs())


@pytest.mark.parametrize(("body", "inputs"), [
    ("t = Sub (c, d)", ""), ("t = Add (c, w)", ", int32[N,1] w"), ("n = Neg (d) t = Add (c, n)", ""),
    ("l = Mul (c, f) t = Add (l, d)", ", int32[N,1] f"), ("t = Add (c, eight)", ""),
])  # fmt: skip
def test_what_is_no_sum_of_two_shifted_int8_tensors_is_left_alone(body: str, inputs: str) -> None:
    assert_untouched(parse(residual(body, inputs=inputs)), InferResidualAdd())


def test_a_wider_operand_is_left_alone() -> None:
    assert_untouched(parse(residual("t = Add (c, d)").replace("int8[N,1] q", "int32[N,1] q")), InferResidualAdd())


REFUSALS = {
    "bias": (residual(parameters=PARAMETERS.replace("b = {0}", "b = {1}")), ("sum", "no bias")),
    "shift per channel": (
        residual(parameters=PARAMETERS.replace("[1] s = {4}", "[2] s = {4, 5}")).replace("[N,1]", "[N,2]"),
        ("sum", "one constant shift"),
    ),
    "multiplier per channel": (
        residual(parameters=PARAMETERS.replace("[1] m = {1}", "[2] m = {1, 2}")).replace("[N,1]", "[N,2]"),
        ("sum", "multiplier"),
    ),
    "multiplier": (residual(parameters=PARAMETERS.replace("m = {1}", "m = {3}")), ("sum: multiplier", "3", "power of two")),
    "factor": (residual("[scaled] l = Mul (c, three) t = Add (l, d)"), ("scaled", "3", "power of two")),
    "computed shift": (residual(parameters="int32[1] m = {1}, int32[1] b = {0}", inputs=", int32[1] s"), ("sum", "one constant shift")),
}


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), InferResidualAdd())
    for word in words:
        assert word in message
