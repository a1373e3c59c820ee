"""Clip of codes -> limits of the Requant, or entries of the table, that makes them."""

import numpy as np
import pytest

from passes.fold_clip import FoldClip
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse

RNG = np.random.default_rng(0)
TABLE = f"int8[2,256] t = {{{', '.join(map(str, RNG.integers(-128, 128, 512).tolist()))}}}"
REQUANT = "psaflow.Requant <axis = -1, rounding = \"HALF_EVEN\", lo = {}, hi = {}>"
CONSTANTS = f"<{TABLE}, int32 one = {{3}}, int32 b = {{-5}}, int32 s = {{1}}, int8 low = {{-7}}, int8 high = {{7}}, int8 none = {{90}}>"


def graph(maker: str, clip: str = "y = Clip (m, low, high)", more: str = "") -> str:
    return f"g (int8[N,2] x) => (int8[N,2] y{more}) {CONSTANTS} {{ {maker} {clip} }}"


def requantize(lo: int = -128, hi: int = 127, to: str = "m") -> str:
    return f"{to} = {REQUANT.format(lo, hi)} (x, one, b, s)"


@pytest.mark.parametrize(("clip", "limits", "before"), [
    ("y = Clip (m, low, high)", (-7, 7), (-128, 127)), ("y = Clip (m, low)", (-7, 127), (-128, 127)), ("y = Clip (m, , high)", (-128, 7), (-128, 127)),
    ("y = Clip (m, low, high)", (0, 7), (0, 127)), ("y = Clip (m, low, high)", (7, 7), (9, 127)), ("y = Clip (m)", (-128, 127), (-128, 127)),
])  # fmt: skip
def test_a_requant_gets_narrower_limits(clip: str, limits: tuple[int, int], before: tuple[int, int]) -> None:
    model = parse(graph(requantize(*before), clip))
    after = apply(model, FoldClip())
    assert_same(after, graph(requantize(*limits, to="y"), ""))
    assert_equal_values(model, after, x=every_code(2))


def test_a_table_is_clipped() -> None:
    model = parse(graph("m = psaflow.ChannelLUT (x, t)"))
    after = apply(model, FoldClip())
    assert [n.op_type for n in after.graph.node] == ["ChannelLUT"]
    assert_equal_values(model, after, x=every_code(2))


@pytest.mark.parametrize("text", [
    graph(requantize(), more=", int8[N,2] m"),  # the codes are read elsewhere
    graph(requantize(), "y = Clip (m, none, high)"),  # limits in the wrong order
    graph("m = Identity (x)"),  # at the door
    graph("m = psaflow.ChannelLUT (x, t)").replace("int8[2,256] t", "int8[2,256] u").replace("(x, t)", "(x, t)").replace(
        "(int8[N,2] x)", "(int8[N,2] x, int8[2,256] t)"),  # a table that is computed
])  # fmt: skip
def test_it_stays(text: str) -> None:
    assert_untouched(parse(text), FoldClip())
