"""TokenMix: the RTL against numpy, its throughput, its latency, its refusals."""

import numpy as np
import pytest

from accel.instance import Folding, InstanceError, Rounding, token_mix
from custom_ops.rounding import shift_right

from .conftest import Check, cycles_per_image, latency, random_int8

IMAGES = 4


def case(u: int, t: int, channels: int, folding: Folding, rounding: Rounding):
    """An instance, its input images and what it must give."""
    rng = np.random.default_rng(u * 1000 + t)
    x = random_int8(1, IMAGES, t, channels)
    weight = random_int8(2, u, t)
    bias = rng.integers(-3000, 3000, u).astype(np.int32)
    shift = rng.integers(3, 9, u).astype(np.int32)
    acc = weight.astype(np.int64) @ x + bias[:, None]
    y = np.clip(shift_right(acc, shift[:, None], rounding.rounding), rounding.lo, rounding.hi)
    return token_mix("dut", weight, bias, shift, channels, folding, rounding), x, y


def first_beat(t: int, channels: int, f: Folding) -> int:
    """Cycles from the first beat in to the first beat out."""
    steps, wide = t // f.simd, max(f.pe, f.in_lanes)
    spacing, issued = max(steps, f.pe // f.out_lanes), -1
    for group in range(max(1, f.out_lanes // f.pe)):
        written = (t - 1) * channels // f.in_lanes + (group * f.pe // wide + 1) * wide // f.in_lanes
        issued = max(written + steps - 1, issued + spacing if group else 0)
    read = 2 if 2 * steps * channels // wide > 64 else 1
    return issued + read + ((f.simd - 1).bit_length() + 1) // 2 + 7 + (f.pe > f.out_lanes)


@pytest.mark.parametrize(
    "u, t, channels, folding, rounding",
    [
        (8, 8, 6, Folding(1, 4), Rounding("HALF_EVEN")),
        (5, 6, 4, Folding(2, 3, 2, 2), Rounding("HALF_UP")),
        (3, 9, 5, Folding(5, 1, 5, 5), Rounding("HALF_EVEN", lo=0)),
        (7, 4, 3, Folding(1, 4), Rounding("HALF_UP", -100, 99)),
        (1, 12, 1, Folding(1, 2), Rounding("HALF_EVEN")),
        (4, 16, 20, Folding(1, 2), Rounding("HALF_EVEN")),
        (8, 8, 12, Folding(3, 2, 1, 1), Rounding("HALF_EVEN")),
        (8, 8, 12, Folding(1, 8, 1, 1), Rounding("HALF_EVEN")),
        (8, 8, 12, Folding(6, 2, 2, 3), Rounding("HALF_EVEN")),
        (8, 8, 12, Folding(2, 4, 6, 4), Rounding("HALF_EVEN")),
        (6, 8, 12, Folding(4, 8, 4, 1), Rounding("HALF_EVEN")),
        (1, 8, 12, Folding(2, 8, 4, 12), Rounding("HALF_EVEN")),
        (4, 12, 4, Folding(4, 12, 1, 4), Rounding("HALF_EVEN")),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, u, t, channels, folding, rounding):
    instance, x, y = case(u, t, channels, folding, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    products = (u * channels // folding.pe) * (t // folding.simd)
    expected = max(products, t * channels // folding.in_lanes, u * channels // folding.out_lanes)
    assert (cycles_per_image(run, IMAGES) == expected).all()
    assert latency(run) == first_beat(t, channels, folding)


def test_images_follow_each_other_without_a_bubble_when_beats_arrive_slowly(verilated, tmp_path):
    instance, x, y = case(8, 8, 6, Folding(1, 4), Rounding())
    simulator = verilated(instance, {"s_axis": 48}, tmp_path)
    feed = x.view(np.uint8).reshape(-1, 1)
    run = simulator.run({"s_axis": feed}, {"m_axis": y.size}, 1, valid_probability=0.65)
    assert (cycles_per_image(run, IMAGES) == 96).all()


@pytest.mark.parametrize(
    "folding, message",
    [
        (Folding(pe=4), "PE=4 must divide 6 channels"),
        (Folding(simd=3), "SIMD=3 must divide 8 tokens"),
        (Folding(in_lanes=4), "in_lanes=4 must divide 6 channels in; try 1, 2, 3, 6"),
        (Folding(pe=2, out_lanes=3), "out_lanes=3 and PE=2: one must divide the other; try out_lanes=1"),
        (Folding(pe=3, in_lanes=2), "in_lanes=2 and PE=3: one must divide the other; try in_lanes=1"),
    ],
)
def test_a_folding_that_does_not_divide_is_refused(folding, message):
    with pytest.raises(InstanceError, match=message):
        case(8, 8, 6, folding, Rounding())
