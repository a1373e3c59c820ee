"""ChannelLUT -> the hardware node with the same table."""

import numpy as np
import pytest

from passes.infer_channel_lut import InferChannelLUT
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse

RNG = np.random.default_rng(0)


def table(entries: int) -> np.ndarray:
    return RNG.integers(-128, 128, (2, entries)).astype(np.int8)


def lut(values: np.ndarray, *, kind: str = "int8", options: str = "") -> str:
    numbers = ", ".join(map(str, values.ravel()))
    return f"""
        g ({kind}[N,4,2] x) => (int8[N,4,2] y) <int8[2,{values.shape[1]}] table = {{{numbers}}}>
        {{ [act] y = psaflow.ChannelLUT {options} (x, table) }}"""


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
@pytest.mark.parametrize("entries", [256, 129, 65, 33, 17, 9, 5, 3])
@pytest.mark.parametrize(("kind", "lowest"), [(np.int8, -128), (np.uint8, 0)])
def test_the_hardware_table_is_the_same_and_answers_every_code(kind: type, lowest: int, entries: int, rounding: str) -> None:
    values = table(entries)
    before = parse(lut(values, kind=np.dtype(kind).name, options=f'<lowest = {lowest}, rounding = "{rounding}">'))
    after = apply(before, InferChannelLUT())
    unit = node(after, "ChannelLUT")
    assert (unit.domain, unit.name, unit.input[0], list(unit.output)) == ("psaflow.hw", "act", "x", ["y"])
    assert attributes(unit) == {"lowest": lowest, "rounding": rounding}
    np.testing.assert_array_equal(constant(after, unit.input[1]), values)
    assert_equal_values(before, after, x=every_code(4, 2, kind=kind))


def test_a_computed_table_is_left_alone() -> None:
    assert_untouched(
        parse("""
        g (int8[N,4,2] x, int8[2,256] table) => (int8[N,4,2] y)
        { y = psaflow.ChannelLUT (x, table) }"""),
        InferChannelLUT(),
    )


def test_a_hardware_table_is_left_alone() -> None:
    before = apply(parse(lut(table(256))), InferChannelLUT())
    assert_untouched(before, InferChannelLUT())
