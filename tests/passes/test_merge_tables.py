"""ChannelLUT of a ChannelLUT -> one ChannelLUT."""

import numpy as np
import pytest

from passes.merge_tables import MergeTables
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse


def values(width: int, seed: int) -> str:
    return ", ".join(map(str, np.random.default_rng(seed).integers(-128, 128, 2 * width).tolist()))


def tables(first: int = 256, second: int = 256, kind: str = "int8", outputs: str = "", inner: str = "psaflow") -> str:
    options = f'<rounding = "HALF_UP", lowest = {-128 if kind == "int8" else 0}>' if inner == "psaflow" else ""
    return f"""
        g ({kind}[N,3,2] x) => (int8[N,3,2] y{outputs})
        <int8[2,{first}] s = {{{values(first, 1)}}}, int8[2,{second}] t = {{{values(second, 2)}}}>
        {{ z = {inner}.ChannelLUT {options} (x, s) [f] y = psaflow.ChannelLUT <rounding = "HALF_EVEN"> (z, t) }}"""


@pytest.mark.parametrize(("kind", "numpy_kind"), [("int8", np.int8), ("uint8", np.uint8)])
@pytest.mark.parametrize(("first", "second"), [(256, 256), (65, 256), (256, 33), (17, 129)])
def test_two_tables_become_one_exact_for_every_code(first: int, second: int, kind: str, numpy_kind: type) -> None:
    before = parse(tables(first, second, kind))
    after = apply(before, MergeTables())
    made = node(after, "ChannelLUT")
    assert (made.name, list(made.input[:1])) == ("f", ["x"])
    assert attributes(made)["lowest"] == (-128 if kind == "int8" else 0)
    assert constant(after, made.input[1]).shape == (2, 256)
    assert_equal_values(before, after, x=every_code(3, 2, kind=numpy_kind))


@pytest.mark.parametrize("text", [tables(outputs=", int8[N,3,2] z"), tables(inner="psaflow.hw")], ids=["others read it", "hardware"])
def test_other_tables_are_left_alone(text: str) -> None:
    assert_untouched(parse(text), MergeTables())
