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


@pytest.mark.parametrize("mult", [1, 3])
@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_a_wide_accumulator_is_requantized_with_and_without_a_multiplier(check: Check, mult, rounding):
    rng = np.random.default_rng(5)
    x = rng.integers(-(2**23), 2**23, (2, 20, 6))
    x[0, 0] = [-(2**31) // mult + 2**20, 2**31 // mult - 2**20, -1, 0, 2**15, -(2**15)]
    x[0, 1:6] = rng.integers(-8, 8, (5, 6)) * 2**15 + 2**14  # ties
    bias, shift = rng.integers(-(2**16), 2**16, 6), rng.integers(14, 18, 6)
    bias[0], shift[0] = 0, 15
    instance = channel_requant("dut", np.full(6, mult), bias, shift, x[0].size, 2, Rounding(rounding), bits=32)
    assert instance.parameters["MULT_BITS"] == (0 if mult == 1 else 3)
    wanted = expected(x, mult, bias, shift, Rounding(rounding))
    assert len(np.unique(wanted)) > 40
    check(instance, {"s_axis": x}, {"m_axis": wanted}, in_bits=32)


def test_bad_parameters_are_refused():
    one = np.ones(4, int)
    with pytest.raises(InstanceError, match="PE=3 must divide 4 channels; try 1, 2, 4"):
        channel_requant("scale", one, one, one, 4, 3, Rounding())
    with pytest.raises(InstanceError, match=r"shifts 32\.\.32 are not in 0\.\.31"):
        channel_requant("scale", one, one, one * 32, 4, 1, Rounding())
    with pytest.raises(InstanceError, match="rounding 'FLOOR'"):
        channel_requant("scale", one, one, one, 4, 1, Rounding("FLOOR"))
