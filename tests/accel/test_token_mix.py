"""TokenMix: the RTL against numpy, its throughput, its refusals."""

import numpy as np
import pytest

from accel.instance import InstanceError, Rounding, token_mix
from custom_ops.rounding import shift_right

from .conftest import Check, cycles_per_image, latency, random_int8

IMAGES = 4


def case(u: int, t: int, channels: int, pe: int, simd: int, rounding: Rounding):
    """An instance, its input images and what it must give."""
    rng = np.random.default_rng(u * 1000 + t)
    x = random_int8(1, IMAGES, t, channels)
    weight = random_int8(2, u, t)
    bias = rng.integers(-3000, 3000, u).astype(np.int32)
    shift = rng.integers(3, 9, u).astype(np.int32)
    acc = weight.astype(np.int64) @ x + bias[:, None]
    y = np.clip(shift_right(acc, shift[:, None], rounding.rounding), rounding.lo, rounding.hi)
    return token_mix("dut", weight, bias, shift, channels, pe, simd, rounding), x, y


@pytest.mark.parametrize(
    "u, t, channels, pe, simd, rounding",
    [
        (8, 8, 6, 1, 4, Rounding("HALF_EVEN")),
        (5, 6, 4, 2, 3, Rounding("HALF_UP")),
        (3, 9, 5, 5, 1, Rounding("HALF_EVEN", lo=0)),
        (7, 4, 3, 1, 4, Rounding("HALF_UP", -100, 99)),
        (1, 12, 1, 1, 2, Rounding("HALF_EVEN")),
        (4, 16, 20, 1, 2, Rounding("HALF_EVEN")),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, u, t, channels, pe, simd, rounding):
    instance, x, y = case(u, t, channels, pe, simd, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    expected = max((u * channels // pe) * (t // simd), t * channels // pe)
    assert (cycles_per_image(run, IMAGES) == expected).all()
    tree = ((simd - 1).bit_length() + 1) // 2
    assert latency(run) == t * channels // pe - 1 + t // simd + tree + 9


def test_images_follow_each_other_without_a_bubble_when_beats_arrive_slowly(verilated, tmp_path):
    instance, x, y = case(8, 8, 6, 1, 4, Rounding())
    simulator = verilated(instance, {"s_axis": 48}, tmp_path)
    feed = x.view(np.uint8).reshape(-1, 1)
    run = simulator.run({"s_axis": feed}, {"m_axis": y.size}, 1, valid_probability=0.65)
    assert (cycles_per_image(run, IMAGES) == 96).all()


@pytest.mark.parametrize(
    "pe, simd, message", [(4, 1, "PE=4 must divide 6 channels"), (1, 3, "SIMD=3 must divide 8 tokens")]
)
def test_a_folding_that_does_not_divide_is_refused(pe, simd, message):
    with pytest.raises(InstanceError, match=message):
        case(8, 8, 6, pe, simd, Rounding())
