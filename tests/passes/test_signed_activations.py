"""uint8 codes -> int8 codes, 128 less, for every code."""

import numpy as np
import pytest

from passes.signed_activations import SignedActivations
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse, refusal


def graph(zero: int | None, between: str = "", codes: str = "q", out: str = "float[N,2]", more: str = "") -> str:
    given = "" if zero is None else ", z"
    constant = "" if zero is None else f", uint8 z = {{{zero}}}"
    return f"""
        g (float[N,2] x) => ({out} y{more}) <float s = {{0.5}}{constant}, uint8 low = {{3}}, uint8 high = {{200}}, int64[2] flat = {{-1, 2}}>
        {{ [in] q = QuantizeLinear (x, s{given})
           {between}
           y = DequantizeLinear ({codes}, s{given}) }}"""


FEED = {"x": (np.arange(-600, 600, dtype=np.float32) / 4).reshape(-1, 2)}


@pytest.mark.parametrize("zero", [0, 1, 127, 128, 255])
def test_every_code_keeps_its_value(zero: int) -> None:
    before = parse(graph(zero))
    after = apply(before, SignedActivations())
    assert_same(after, f"""
        g (float[N,2] x) => (float[N,2] y) <float s = {{0.5}}, int8 z = {{{zero - 128}}}>
        {{ q = QuantizeLinear (x, s, z)
           y = DequantizeLinear (q, s, z) }}""")  # fmt: skip
    assert_equal_values(before, after, **FEED)


@pytest.mark.parametrize(("zero", "between", "codes"), [
    (None, "", "q"), (7, "c = Clip (q, low, high)", "c"), (7, "c = Clip (q, , high)", "c"), (9, "r = Reshape (q, flat)", "r"),
    (9, "r = Reshape (q, flat) c = Clip (r, low, high)", "c"),
])  # fmt: skip
def test_clips_and_changes_of_layout_go_along(zero: int | None, between: str, codes: str) -> None:
    before = parse(graph(zero, between, codes))
    after = apply(before, SignedActivations())
    assert not [i.name for i in after.graph.initializer if i.data_type == 2]
    assert_equal_values(before, after, **FEED)


def test_signed_codes_stay() -> None:
    assert_untouched(parse(graph(3).replace("uint8 z", "int8 z")), SignedActivations())


@pytest.mark.parametrize(("text", "words"), [
    (graph(3, "w = Cast <to = 1> (q) v = Relu (w)", more=", float[N,2] v"), ("Cast w", "reads uint8 codes", "DequantizeLinear")),
    (graph(3, more=", uint8[N,2] q"), ("in", "gives its uint8 codes")),
])  # fmt: skip
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), SignedActivations())
    for word in words:
        assert word in message
