"""Requant of an int8 tensor along channels -> ChannelLUT."""

import numpy as np
import pytest

from passes.tabulate_requant import TabulateRequant
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse


def affine(*, kind: str = "int8", axis: int = -1, parameters: str = "int32[3] m = {3, -2, 127}, int32[1] b = {5}, int32[3] s = {1, 0, 9}",
           more: str = "", shape: str = "[N,3,3]") -> str:  # fmt: skip
    return f"""
        g ({kind}{shape} x{more}) => (int8{shape} y)
        <{parameters}>
        {{ [scale] y = psaflow.Requant <axis = {axis}, rounding = "HALF_UP", lo = -100, hi = 90> (x, m, b, s) }}"""


@pytest.mark.parametrize("parameters", [
    "int32[3] m = {3, -2, 127}, int32[1] b = {5}, int32[3] s = {1, 0, 9}", "int32 m = {1}, int32[1] b = {0}, int32 s = {2}",
    "int32[3] m = {2147483647, -2147483648, 1}, int32[3] b = {2147483647, 5, 0}, int32[1] s = {31}",
])  # fmt: skip
def test_a_requantization_of_codes_becomes_its_table(parameters: str) -> None:
    before = parse(affine(parameters=parameters))
    after = apply(before, TabulateRequant())
    lut = node(after, "ChannelLUT")
    assert (len(after.graph.node), lut.name, list(lut.input[:1])) == (1, "scale", ["x"])
    assert attributes(lut) == {"rounding": "HALF_UP", "lowest": -128}
    table = constant(after, lut.input[1])
    assert (table.dtype, table.shape) == (np.int8, (3, 256))
    assert_equal_values(before, after, x=every_code(3, 3))


@pytest.mark.parametrize("text", [
    affine(kind="int32"), affine(axis=-2), affine(parameters="int32[1] m = {1}, int32[1] s = {1}", more=", int32[1] b"),
    affine(shape="[N,3,C]", parameters="int32 m = {1}, int32 b = {0}, int32 s = {1}"),
    affine(parameters="int32[1,3] m = {1, 2, 3}, int32 b = {0}, int32 s = {1}"),
], ids=["int32", "along tokens", "computed bias", "unknown number of channels", "a parameter of rank 2"])  # fmt: skip
def test_another_requantization_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), TabulateRequant())
