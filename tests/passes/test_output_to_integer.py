"""The last quantizer's codes become the output; the scale is noted."""

import numpy as np
import pytest

from passes.check import logits
from passes.graph import get_metadata
from passes.logits_to_integer import SCALE
from passes.output_to_integer import OutputToInteger
from passes.scaling import errors_of
from tests.passes.graphs import apply, assert_untouched, every_code, parse, run


def graph(scale: float, zero: int, tail: str = "") -> str:
    outputs = "float[N,1] y" if not tail else "float[N,1] y, float[N,1] v"
    return f"""
        g (int8[N,1] q) => ({outputs}) <float s = {{{scale}}}, int8 z = {{{zero}}}>
        {{ y = DequantizeLinear (q, s, z) {tail} }}"""


@pytest.mark.parametrize("zero", [0, -128, 127, 5])
def test_a_power_of_two_gives_the_same_logits(zero: int) -> None:
    before = parse(graph(0.25, zero))
    after = apply(before, OutputToInteger())
    assert (logits(after, every_code(1)) == logits(before, every_code(1))).all()
    assert run(after, q=every_code(1))[0].dtype == (np.int32 if zero else np.int8)
    assert get_metadata(after, SCALE) == "0.25" and not errors_of(after)


def test_another_scale_is_noted_with_what_float32_makes_of_it() -> None:
    before = parse(graph(0.1, 3))
    after = apply(before, OutputToInteger())
    (bound,) = errors_of(after).values()
    units = np.abs(logits(after, every_code(1)) - logits(before, every_code(1))) / float(get_metadata(after, SCALE))
    assert 0 < units.max() <= sum(bound) < 1e-4


def test_a_value_that_is_used_inside_too_stays() -> None:
    assert_untouched(parse(graph(0.25, 0, "v = Neg (y)")), OutputToInteger())
