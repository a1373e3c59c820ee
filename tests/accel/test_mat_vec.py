"""MatVec: the RTL against numpy, its throughput, its latency, its refusals."""

import numpy as np
import pytest

from accel.instance import Folding, InstanceError, Rounding, mat_vec
from custom_ops.rounding import shift_right

from .conftest import Check, cycles_per_image, latency, random_int8

IMAGES = 3


def case(m: int, k: int, tokens: int, folding: Folding, rounding: Rounding, shifts=range(3, 9), images: int = IMAGES):
    """An instance, its input images and what it must give."""
    rng = np.random.default_rng(m * 1000 + k)
    x = random_int8(1, images, tokens, k)
    weight = random_int8(2, m, k)
    bias = rng.integers(-3000, 3000, m).astype(np.int32)
    shift = None if shifts is None else rng.choice(shifts, m).astype(np.int32)
    y = x.astype(np.int64) @ weight.T.astype(np.int64) + bias
    if shift is not None:
        y = np.clip(shift_right(y, shift, rounding.rounding), rounding.lo, rounding.hi)
    return mat_vec("dut", weight, bias, shift, tokens, folding, rounding), x, y


def cycles(m: int, k: int, tokens: int, f: Folding) -> int:
    return tokens * max(m // f.pe * k // f.simd, k // f.in_lanes, m // f.out_lanes)


def first_beat(m: int, k: int, f: Folding, requantized: bool = True) -> int:
    """Cycles from the first beat in to the first beat out."""
    groups, columns = max(1, f.out_lanes // f.pe), k // f.simd
    tree = ((f.simd - 1).bit_length() + 1) // 2
    behind = tree + 7 + (f.pe > f.out_lanes) - 3 * (not requantized)  # READ aside
    steps = max(columns, f.pe // f.out_lanes)
    if f.simd >= f.in_lanes and 1 in (m // f.pe, columns):
        return k // f.in_lanes - 1 + (groups - 1) * columns + 1 + behind
    read = 2 if 2 * k // max(f.simd, f.in_lanes) > 64 else 1
    return k // f.in_lanes - 1 + columns + (groups - 1) * steps + read + behind


@pytest.mark.parametrize(
    "m, k, tokens, folding, rounding",
    [
        (6, 8, 4, Folding(1, 1), Rounding("HALF_EVEN")),
        (6, 12, 3, Folding(2, 3, 3, 2), Rounding("HALF_UP")),
        (5, 7, 2, Folding(5, 7, 7, 5), Rounding("HALF_EVEN", lo=0)),
        (9, 12, 4, Folding(3, 12, 1, 1), Rounding("HALF_UP", -100, 99)),
        (1, 80, 2, Folding(1, 1), Rounding("HALF_EVEN")),
        (30, 30, 2, Folding(1, 5, 1, 2), Rounding("HALF_EVEN")),
        (12, 12, 3, Folding(1, 12, 1, 1), Rounding("HALF_EVEN")),
        (12, 12, 3, Folding(2, 12, 2, 2), Rounding("HALF_EVEN")),
        (12, 24, 3, Folding(12, 12, 4, 1), Rounding("HALF_EVEN")),
        (12, 24, 3, Folding(12, 2, 2, 2), Rounding("HALF_EVEN")),
        (18, 24, 3, Folding(3, 6, 1, 1), Rounding("HALF_EVEN")),
        (18, 24, 3, Folding(6, 12, 4, 1), Rounding("HALF_EVEN")),
        (18, 24, 3, Folding(2, 3, 6, 6), Rounding("HALF_EVEN")),
        (4, 6, 5, Folding(4, 6, 6, 1), Rounding("HALF_EVEN")),
        (4, 6, 5, Folding(1, 1, 3, 4), Rounding("HALF_EVEN")),
        (4, 70, 2, Folding(2, 1, 2, 1), Rounding("HALF_EVEN")),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, m, k, tokens, folding, rounding):
    instance, x, y = case(m, k, tokens, folding, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    assert (cycles_per_image(run, IMAGES) == cycles(m, k, tokens, folding)).all()
    assert latency(run) == first_beat(m, k, folding)


@pytest.mark.parametrize(
    "shifts, rounding",
    [((0,), "HALF_EVEN"), ((0, 1), "HALF_UP"), ((31,), "HALF_UP"), (range(20), "HALF_EVEN")],
)
def test_every_shift_rounds_like_the_reference(check: Check, shifts, rounding):
    instance, x, y = case(20, 2, 16, Folding(4, 2, 2, 4), Rounding(rounding), shifts)
    check(instance, {"s_axis": x}, {"m_axis": y})


@pytest.mark.parametrize("folding", [Folding(2, 4, 4, 2), Folding(10, 1, 1, 1), Folding(1, 12, 1, 1)])
def test_without_shift_the_accumulator_comes_out_as_int32(check: Check, folding):
    instance, x, y = case(10, 12, 2, folding, Rounding(), None)
    run = check(instance, {"s_axis": x}, {"m_axis": y}, out_bits=32)
    assert latency(run) == first_beat(10, 12, folding, False)


def test_the_accumulator_holds_its_worst_case_exactly(check: Check):
    weight = np.full((2, 5), -128, np.int8)
    x = np.full((1, 1, 5), -128, np.int8)
    bias = np.array([2**20 - 1 - 5 * 2**14, 0], np.int32)
    for folding in (Folding(1, 1), Folding(2, 1)):  # bias before, bias behind
        instance = mat_vec("dut", weight, bias, None, 1, folding, Rounding())
        assert instance.parameters["ACC_BITS"] == 21
        check(instance, {"s_axis": x}, {"m_axis": x.astype(int) @ weight.T.astype(int) + bias}, out_bits=32)


def test_rows_follow_each_other_without_a_bubble_when_beats_arrive_slowly(verilated, tmp_path):
    instance, x, y = case(12, 6, 40, Folding(1, 3, 3, 1), Rounding())
    simulator = verilated(instance, {"s_axis": x.size // 3 // IMAGES}, tmp_path)
    feed = x.view(np.uint8).reshape(-1, 3)
    run = simulator.run({"s_axis": feed}, {"m_axis": y.size}, 1, valid_probability=0.3)
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[11] == (len(feed) // 2 - 1) * 24


@pytest.mark.parametrize(
    "folding, message",
    [
        (Folding(pe=5), "PE=5 must divide 12 rows"),
        (Folding(simd=4), "SIMD=4 must divide 6"),
        (Folding(in_lanes=4), "in_lanes=4 must divide 6 channels in; try 1, 2, 3, 6"),
        (Folding(out_lanes=5), "out_lanes=5 must divide 12 channels out"),
        (Folding(simd=2, in_lanes=3), "in_lanes=3 and SIMD=2: one must divide the other; try in_lanes=1"),
        (Folding(pe=4, out_lanes=6), "out_lanes=6 and PE=4: one must divide the other; try out_lanes=2"),
    ],
)
def test_a_folding_that_does_not_divide_is_refused(folding, message):
    with pytest.raises(InstanceError, match=message):
        case(12, 6, 1, folding, Rounding())


def test_an_accumulator_above_int32_is_refused():
    with pytest.raises(InstanceError, match="the accumulator needs 33 bits"):
        mat_vec("dut", np.ones((2, 2), np.int8), np.array([0, 2**31 - 1]), None, 1, Folding(), Rounding())
