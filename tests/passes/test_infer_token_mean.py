"""Requant of a sum over tokens -> TokenMean."""

import numpy as np
import pytest

from passes.infer_token_mean import InferTokenMean
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_pair, parse, refusal

PARAMETERS = "int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {3}"


def mean(
    *, keep: int = 1, axes: str = "int64[1] a = {1}", parameters: str = PARAMETERS, body: str = "", shape: str = "", inputs: str = ""
) -> str:
    return f"""
        g (int8[N,2,3] x{inputs}) => (int8{shape or ("[N,1,3]" if keep else "[N,3]")} y) <{axes}, {parameters}>
        {{ w = Cast <to = 6> (x)
           {body or f"t = ReduceSum <keepdims = {keep}> (w, a)"}
           [mean] y = psaflow.Requant <axis = -1, rounding = "HALF_UP", lo = -100, hi = 127> (t, m, b, s) }}"""


UNIT = '[mean] y = psaflow.hw.TokenMean <shift = 3, rounding = "HALF_UP", lo = -100, hi = 127> (x)'


def tokens() -> np.ndarray:
    return np.repeat(np.stack(every_pair(), 1)[:, :, None], 3, 2)


@pytest.mark.parametrize("axis", [1, -2])
def test_a_sum_over_tokens_becomes_one_unit(axis: int) -> None:
    before = parse(mean(axes=f"int64[1] a = {{{axis}}}"))
    after = apply(before, InferTokenMean())
    assert_same(after, f"g (int8[N,2,3] x) => (int8[N,1,3] y) {{ {UNIT} }}")
    assert after.graph.node[0].name == "mean"
    assert_equal_values(before, after, x=tokens())


def test_a_token_axis_that_is_not_kept_is_squeezed_behind() -> None:
    before = parse(mean(keep=0))
    after = apply(before, InferTokenMean())
    assert_same(
        after,
        f"""
        g (int8[N,2,3] x) => (int8[N,3] y) <int64[1] a = {{1}}>
        {{ {UNIT.replace(" y =", " k =")}
           y = Squeeze (k, a) }}""",
    )
    assert_equal_values(before, after, x=tokens())


def test_a_requant_of_something_else_is_left_alone() -> None:
    assert_untouched(parse(mean(body="t = Neg (w)", shape="[N,2,3]")), InferTokenMean())
    assert_untouched(parse(mean(body="n = Neg (w) t = ReduceSum <keepdims = 1> (n, a)")), InferTokenMean())


REFUSALS = {
    "over channels": (mean(axes="int64[1] a = {2}", shape="[N,2,1]"), ("mean", "over the tokens (axis 1)")),
    "over both": (mean(axes="int64[2] a = {1, 2}", shape="[N,1,1]"), ("mean", "over the tokens (axis 1)")),
    "over all": (mean(body="t = ReduceSum <keepdims = 1> (w)", shape="[1,1,1]"), ("mean", "over the tokens (axis 1)")),
    "multiplier": (mean(parameters=PARAMETERS.replace("m = {1}", "m = {2}")), ("mean", "no multiplier")),
    "bias": (mean(parameters=PARAMETERS.replace("b = {0}", "b = {2}")), ("mean", "no bias")),
    "shift per channel": (mean(parameters=PARAMETERS.replace("[1] s = {3}", "[3] s = {3, 3, 4}")), ("mean", "one constant shift")),
}


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), InferTokenMean())
    for word in words:
        assert word in message
