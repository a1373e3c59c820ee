"""ChannelLUT with one row for all channels -> a row per channel."""

import pytest

from passes.spread_table import SpreadTable
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse, refusal


def lut(rows: int, channels: str = "3", entries: int = 256) -> str:
    values = ", ".join(str((i * 37) % 256 - 128) for i in range(rows * entries))
    return f"""g (int8[N,2,{channels}] x) => (int8[N,2,{channels}] y) <int8[{rows},{entries}] t = {{{values}}}>
               {{ [f] y = psaflow.ChannelLUT <rounding = "HALF_UP"> (x, t) }}"""


@pytest.mark.parametrize("entries", [256, 33])
def test_the_row_is_there_for_each_channel(entries: int) -> None:
    before = parse(lut(1, entries=entries))
    after = apply(before, SpreadTable())
    made = node(after, "ChannelLUT")
    assert constant(after, made.input[1]).shape == (3, entries)
    assert (constant(after, made.input[1]) == constant(before, "t")).all()
    assert (made.name, attributes(made)) == ("f", {"rounding": "HALF_UP"})
    assert_equal_values(before, after, x=every_code(2, 3))


@pytest.mark.parametrize("text", [lut(3), lut(1, "1")], ids=["a row per channel", "one channel"])
def test_what_has_its_rows_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), SpreadTable())


def test_unknown_channels_are_refused() -> None:
    assert "y: the channels of 'x' are not known" in refusal(parse(lut(1, "C").replace("[f] ", "")), SpreadTable())
