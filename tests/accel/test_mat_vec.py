"""MatVec: the RTL against numpy, its throughput, its refusals."""

import numpy as np
import pytest

from accel.instance import InstanceError, Rounding, mat_vec
from custom_ops.rounding import shift_right

from .conftest import Check, cycles_per_image, latency, random_int8

IMAGES = 3


def case(m: int, k: int, tokens: int, pe: int, simd: int, rounding: Rounding, shifts=range(3, 9)):
    """An instance, its input images and what it must give."""
    rng = np.random.default_rng(m * 1000 + k)
    x = random_int8(1, IMAGES, tokens, k)
    weight = random_int8(2, m, k)
    bias = rng.integers(-3000, 3000, m).astype(np.int32)
    shift = None if shifts is None else rng.choice(shifts, m).astype(np.int32)
    y = x.astype(np.int64) @ weight.T.astype(np.int64) + bias
    if shift is not None:
        y = np.clip(shift_right(y, shift, rounding.rounding), rounding.lo, rounding.hi)
    return mat_vec("dut", weight, bias, shift, tokens, pe, simd, rounding), x, y


@pytest.mark.parametrize(
    "m, k, tokens, pe, simd, rounding",
    [
        (6, 8, 4, 1, 1, Rounding("HALF_EVEN")),
        (6, 12, 3, 2, 3, Rounding("HALF_UP")),
        (5, 7, 2, 5, 7, Rounding("HALF_EVEN", lo=0)),
        (9, 12, 4, 3, 12, Rounding("HALF_UP", -100, 99)),
        (1, 80, 2, 1, 1, Rounding("HALF_EVEN")),
        (30, 30, 2, 1, 5, Rounding("HALF_EVEN")),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, m, k, tokens, pe, simd, rounding):
    instance, x, y = case(m, k, tokens, pe, simd, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    expected = tokens * (m // pe) * (k // simd)
    assert (cycles_per_image(run, IMAGES) == expected).all()
    tree = ((simd - 1).bit_length() + 1) // 2
    assert latency(run) == k // simd - 1 + k // simd + tree + 9


@pytest.mark.parametrize(
    "shifts, rounding",
    [((0,), "HALF_EVEN"), ((0, 1), "HALF_UP"), ((31,), "HALF_UP"), (range(20), "HALF_EVEN")],
)
def test_every_shift_rounds_like_the_reference(check: Check, shifts, rounding):
    instance, x, y = case(20, 2, 16, 4, 2, Rounding(rounding), shifts)
    check(instance, {"s_axis": x}, {"m_axis": y})


def test_without_shift_the_accumulator_comes_out_as_int32(check: Check):
    instance, x, y = case(10, 12, 2, 2, 4, Rounding(), None)
    check(instance, {"s_axis": x}, {"m_axis": y}, out_bits=32)


def test_the_accumulator_holds_its_worst_case_exactly(check: Check):
    weight = np.full((2, 5), -128, np.int8)
    x = np.full((1, 1, 5), -128, np.int8)
    bias = np.array([2**20 - 1 - 5 * 2**14, 0], np.int32)
    instance = mat_vec("dut", weight, bias, None, 1, 1, 1, Rounding())
    assert instance.parameters["ACC_BITS"] == 21
    check(instance, {"s_axis": x}, {"m_axis": x.astype(int) @ weight.T.astype(int) + bias}, out_bits=32)


def test_rows_follow_each_other_without_a_bubble_when_beats_arrive_slowly(verilated, tmp_path):
    instance, x, y = case(12, 6, 40, 1, 3, Rounding())
    simulator = verilated(instance, {"s_axis": x.size // 3 // IMAGES}, tmp_path)
    feed = x.view(np.uint8).reshape(-1, 3)
    run = simulator.run({"s_axis": feed}, {"m_axis": y.size}, 1, valid_probability=0.3)
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[11] == (len(feed) // 2 - 1) * 24


@pytest.mark.parametrize(
    "pe, simd, message", [(5, 1, "PE=5 must divide 12 rows"), (1, 4, "SIMD=4 must divide 6")]
)
def test_a_folding_that_does_not_divide_is_refused(pe, simd, message):
    with pytest.raises(InstanceError, match=message):
        case(12, 6, 1, pe, simd, Rounding())


def test_an_accumulator_above_int32_is_refused():
    with pytest.raises(InstanceError, match="the accumulator needs 33 bits"):
        mat_vec("dut", np.ones((2, 2), np.int8), np.array([0, 2**31 - 1]), None, 1, 1, 1, Rounding())
