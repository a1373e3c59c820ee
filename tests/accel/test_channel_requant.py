"""ChannelRequant and the requantization lane inside it, against exact rationals."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from accel.instance import InstanceError, Rounding, channel_requant

from .conftest import Check, latency, random_int8


def exact(value: int, shift: int, rounding: Rounding) -> int:
    v = Fraction(value, 1 << shift)
    rounded = round(v) if rounding.rounding == "HALF_EVEN" else floor(v + Fraction(1, 2))
    return min(max(rounded, rounding.lo), rounding.hi)


def expected(x, mult, bias, shift, rounding):
    scaled = x.astype(np.int64) * mult + bias
    flat = [
        exact(int(v), int(s), rounding)
        for v, s in zip(scaled.ravel(), np.broadcast_to(shift, x.shape).ravel(), strict=True)
    ]
    return np.array(flat).reshape(x.shape)


@pytest.mark.parametrize(
    "channels, pe, bound, shifts, rounding",
    [
        (6, 1, 2**8, range(12), Rounding("HALF_EVEN")),
        (6, 3, 2**8, range(12), Rounding("HALF_UP")),
        (5, 5, 2**17, range(14, 20), Rounding("HALF_EVEN", lo=0)),
        (4, 2, 2**31, (28, 31), Rounding("HALF_UP", -7, 100)),
        (150, 1, 2**8, (6, 7, 8), Rounding("HALF_EVEN")),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, channels, pe, bound, shifts, rounding):
    rng = np.random.default_rng(channels)
    mult, bias = rng.integers(-bound, bound, (2, channels))
    shift = rng.choice(shifts, channels)
    x = random_int8(3, 2, max(2, 60 // channels), channels)
    instance = channel_requant("dut", mult, bias, shift, x[0].size, pe, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": expected(x, mult, bias, shift, rounding)})
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[0] == len(cycles) - 1, "one beat a cycle"
    assert latency(run) == 9


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_every_code_and_every_tie_rounds_exactly(check: Check, rounding):
    shift = np.arange(8)
    mult, bias = np.ones(8, int), np.zeros(8, int)
    x = np.repeat(np.arange(-128, 128, dtype=np.int8), 8).reshape(1, 256, 8)
    instance = channel_requant("dut", mult, bias, shift, x.size, 8, Rounding(rounding))
    check(instance, {"s_axis": x}, {"m_axis": expected(x, mult, bias, shift, Rounding(rounding))})


def test_bad_parameters_are_refused():
    one = np.ones(4, int)
    with pytest.raises(InstanceError, match="PE=3 must divide 4 channels; try 1, 2, 4"):
        channel_requant("scale", one, one, one, 4, 3, Rounding())
    with pytest.raises(InstanceError, match=r"shifts 32\.\.32 are not in 0\.\.31"):
        channel_requant("scale", one, one, one * 32, 4, 1, Rounding())
    with pytest.raises(InstanceError, match="rounding 'FLOOR'"):
        channel_requant("scale", one, one, one, 4, 1, Rounding("FLOOR"))
