"""ChannelLUT of knots -> ChannelLUT of a full table."""

import numpy as np
import pytest

from custom_ops.channel_lut import KNOTS
from passes.expand_table import ExpandTable, full_table
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse


def lut(knots: int, kind: str = "int8", rounding: str = "HALF_UP") -> str:
    values = np.random.default_rng(knots).integers(-128, 128, 2 * knots).tolist()
    lowest = -128 if kind == "int8" else 0
    return f"""
        g ({kind}[N,3,2] x) => (int8[N,3,2] y)
        <int8[2,{knots}] t = {{{", ".join(map(str, values))}}}>
        {{ [f] y = psaflow.ChannelLUT <rounding = "{rounding}", lowest = {lowest}> (x, t) }}"""


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
@pytest.mark.parametrize(("kind", "numpy_kind"), [("int8", np.int8), ("uint8", np.uint8)])
@pytest.mark.parametrize("knots", KNOTS.values())
def test_knots_become_a_full_table_exact_for_every_code(knots: int, kind: str, numpy_kind: type, rounding: str) -> None:
    before = parse(lut(knots, kind, rounding))
    after = apply(before, ExpandTable())
    made = node(after, "ChannelLUT")
    assert (made.name, attributes(made)) == ("f", {"rounding": rounding, "lowest": -128 if kind == "int8" else 0})
    assert constant(after, made.input[1]).shape == (2, 256)
    assert_equal_values(before, after, x=every_code(3, 2, kind=numpy_kind))


def test_a_full_table_is_left_alone() -> None:
    assert_untouched(parse(lut(256)), ExpandTable())


def test_a_full_table_is_its_own_expansion() -> None:
    table = np.random.default_rng(0).integers(-128, 128, (5, 256), np.int8)
    np.testing.assert_array_equal(full_table(table, "HALF_EVEN"), table)
