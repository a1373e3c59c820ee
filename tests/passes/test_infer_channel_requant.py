"""Requant of an int8 activation -> ChannelRequant."""

import pytest

from passes.infer_channel_requant import InferChannelRequant
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse, refusal


def affine(constants: str, *, kind: str = "int8", axis: int = -1, inputs: str = "") -> str:
    return f"""
        g ({kind}[N,2,3] x{inputs}) => (int8[N,2,3] y) <{constants}>
        {{ [affine] y = psaflow.Requant <axis = {axis}, rounding = "HALF_UP", lo = -100, hi = 90> (x, m, b, s) }}"""


def unit(constants: str) -> str:
    return f"""
        g (int8[N,2,3] x) => (int8[N,2,3] y) <{constants}>
        {{ y = psaflow.hw.ChannelRequant <rounding = "HALF_UP", lo = -100, hi = 90> (x, m, b, s) }}"""


FULL = "int32[3] m = {127, -3, 1}, int32[3] b = {-700, 12, 33}, int32[3] s = {6, 3, 0}"


def test_an_affine_becomes_a_hardware_node() -> None:
    before = parse(affine(FULL))
    after = apply(before, InferChannelRequant())
    assert_same(after, unit(FULL))
    assert after.graph.node[0].name == "affine"
    assert_equal_values(before, after, x=every_code(2, 3))


@pytest.mark.parametrize("shape", ["", "[1]"])
def test_single_parameters_are_spread_over_the_channels(shape: str) -> None:
    before = parse(affine(f"int32{shape} m = {{5}}, int32{shape} b = {{-7}}, int32{shape} s = {{3}}"))
    after = apply(before, InferChannelRequant())
    assert_same(after, unit("int32[3] m = {5, 5, 5}, int32[3] b = {-7, -7, -7}, int32[3] s = {3, 3, 3}"))
    assert_equal_values(before, after, x=every_code(2, 3))


def test_left_out_attributes_have_their_defaults() -> None:
    before = parse(affine(FULL).replace('<axis = -1, rounding = "HALF_UP", lo = -100, hi = 90>', ""))
    after = apply(before, InferChannelRequant())
    assert_same(after, unit(FULL).replace("HALF_UP", "HALF_EVEN").replace("-100", "-128").replace("90", "127"))
    assert_equal_values(before, after, x=every_code(2, 3))


def test_an_accumulator_is_left_alone() -> None:
    assert_untouched(parse(affine(FULL, kind="int32")), InferChannelRequant())


def test_it_refuses_an_affine_along_tokens() -> None:
    message = refusal(parse(affine(FULL.replace("[3]", "[2]").replace(", 1}", "}").replace(", 33}", "}").replace(", 0}", "}"), axis=-2)),
                      InferChannelRequant())  # fmt: skip
    assert "affine" in message and "axis -2" in message and "channels (-1)" in message


def test_it_refuses_computed_parameters() -> None:
    message = refusal(parse(affine(FULL.replace("int32[3] m = {127, -3, 1}, ", ""), inputs=", int32[3] m")), InferChannelRequant())
    assert "affine" in message and "constants" in message
