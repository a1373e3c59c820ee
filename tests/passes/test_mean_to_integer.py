"""Q(mean(DQ(x))) -> the exact sum and one Requant."""

import numpy as np
import pytest

from passes.mean_to_integer import MeanToInteger
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, assert_within_bounds, every_pair, parse, refusal


def mean(*, tokens: int | str = 2, scale: float = 0.25, out: float = 0.125, axes: str = "int64[1] a = {1}", keep: int = 0,
         body: str = "", shape: str | None = None) -> str:  # fmt: skip
    result = shape or ("[N,1,3]" if keep else "[N,3]")
    return f"""
        g (int8[N,{tokens},3] q) => (int8{result} y) <float xs = {{{scale}}}, float ys = {{{out}}}, int8 z = {{0}}, {axes}>
        {{ x = DequantizeLinear (q, xs, z)
           {body or f"m = ReduceMean <keepdims = {keep}> (x, a)"}
           [mean_quantize] y = QuantizeLinear (m, ys, z) }}"""


def pairs() -> np.ndarray:
    """int8 [65536, 2, 3]: every pair of codes, in all channels."""
    return np.repeat(np.stack(every_pair(), 1)[:, :, None], 3, 2)


@pytest.mark.parametrize(("keep", "shape"), [(0, "[N,3]"), (1, "[N,1,3]")])
def test_it_becomes_a_sum_and_a_shift(keep: int, shape: str) -> None:
    after = apply(parse(mean(keep=keep)), MeanToInteger())
    assert_same(
        after,
        f"""
        g (int8[N,2,3] q) => (int8{shape} y) <int64[1] a = {{1}}, int32[1] one = {{1}}, int32[1] none = {{0}}, int32[1] shift = {{0}}>
        {{ w = Cast <to = 6> (q)
           t = ReduceSum <keepdims = {keep}> (w, a)
           y = psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127> (t, one, none, shift) }}""",
    )


@pytest.mark.parametrize("out", [0.0625, 0.125, 0.25, 0.5, 4.0])
def test_every_pair_of_codes_gives_the_same_mean(out: float) -> None:
    before = parse(mean(out=out))
    after = apply(before, MeanToInteger())
    assert "ReduceMean" not in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, q=pairs())


@pytest.mark.parametrize("tokens", [1, 16, 64])
def test_more_tokens_give_the_same_mean(tokens: int) -> None:
    before = parse(mean(tokens=tokens, out=0.25))
    codes = np.random.default_rng(tokens).integers(-128, 128, (2000, tokens, 3)).astype(np.int8)
    codes[0], codes[1] = 127, -128
    assert_equal_values(before, apply(before, MeanToInteger()), q=codes)


def test_a_negative_axis_counts_from_the_end() -> None:
    before = parse(mean(axes="int64[1] a = {-2}"))
    after = apply(before, MeanToInteger())
    assert "ReduceSum" in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, q=pairs())


def test_a_mean_of_float_is_left_alone() -> None:
    assert_untouched(parse(mean(body="r = Relu (x) m = ReduceMean <keepdims = 0> (r, a)")), MeanToInteger())


def test_a_sum_is_left_alone() -> None:
    assert_untouched(parse(mean(body="m = ReduceSum <keepdims = 0> (x, a)")), MeanToInteger())


REFUSALS = {
    "two axes": (mean(axes="int64[2] a = {1, 2}", shape="[N]"), ("y: the mean must run over one constant axis",)),
    "all axes": (mean(body="m = ReduceMean <keepdims = 1> (x)", shape="[1,1,1]"), ("y: the mean must run over one constant axis",)),
    "scales too far apart": (mean(scale=1e-10), ("y: mean of 2", "codes off")),
}


@pytest.mark.parametrize(("scale", "out", "zeros"), [(0.3, 0.125, (0, 0)), (0.25, 0.3, (0, 0)), (0.37, 0.21, (-128, 7)), (0.1, 0.43, (5, -128))])
def test_scales_of_any_kind_and_zero_points_stay_within_the_bound(scale: float, out: float, zeros: tuple[int, int]) -> None:
    text = mean(scale=scale, out=out).replace("int8 z = {0}", f"int8 z = {{{zeros[0]}}}, int8 w = {{{zeros[1]}}}").replace("(m, ys, z)", "(m, ys, w)")
    before = parse(text)
    assert_within_bounds(before, apply(before, MeanToInteger()), pairs())


def test_a_number_of_tokens_that_is_no_power_of_two_stays_within_the_bound() -> None:
    before = parse(mean(tokens=49))
    assert_within_bounds(before, apply(before, MeanToInteger()), np.random.default_rng(0).integers(-128, 128, (999, 49, 3)).astype(np.int8))


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), MeanToInteger())
    for word in words:
        assert word in message


def test_it_refuses_an_axis_whose_size_is_unknown() -> None:
    message = refusal(parse(mean(tokens="T")), MeanToInteger())
    for word in ("y: the mean", "axis 1", "unknown"):
        assert word in message
