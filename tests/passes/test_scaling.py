"""Ratios of scales as multiplier and shift: exact where they are powers of two, within the stated bound elsewhere."""

from fractions import Fraction

import numpy as np
import pytest
from onnx import ModelProto

from custom_ops.requant import requant
from passes.graph import PassRefusal
from passes.scaling import LARGEST_ERROR, errors_of, exact_scaling, float_error, note_error, scaling


def off(ratio: float, offset: float, zero: int, accumulators: np.ndarray) -> Fraction:
    """The largest distance of (acc + added) * mult + bias over 2**shift from acc * ratio + offset + zero, where that is not clipped."""
    s = scaling(np.array([ratio]), np.array([offset]), zero, "y")
    added, mult, bias, shift = (int(v[0]) for v in (s.added, s.mult, s.bias, s.shift))
    most = Fraction(0)
    for acc in accumulators.tolist():
        real = acc * Fraction(ratio) + Fraction(offset) + zero
        if -128 <= real <= 127:
            most = max(most, abs(Fraction((acc + added) * mult + bias, 2**shift) - real))
    return most


@pytest.mark.parametrize("exponent", range(-23, 32))
def test_a_power_of_two_is_exact(exponent: int) -> None:
    codes = np.array([-3.0, 0.0, 40.0])
    s = scaling(np.full(3, 2.0**-exponent), codes * 2.0**-exponent, 0, "y")
    assert (s.mult / 2.0**s.shift == 2.0**-exponent).all() and ((s.mult == 1) | (s.shift == 0)).all()
    assert (s.bias == codes * s.mult).all() and not s.added.any()
    assert s.exact and s.error == 0


def test_an_even_zero_point_is_exact_and_an_odd_one_says_that_it_is_not() -> None:
    acc = np.arange(-3000, 3000)[:, None]
    for zero in (-128, -6, 0, 100):
        s = scaling(np.array([2.0**-4]), np.array([3 * 2.0**-4]), zero, "y")
        given = requant(acc.astype(np.int32), s.mult, s.bias, s.shift)
        assert (given == np.clip(np.rint((acc + 3) / 16) + zero, -128, 127)).all()
        assert s.exact
    assert not scaling(np.array([2.0**-4]), np.zeros(1), 7, "y").exact  # its ties go to the odd code
    assert scaling(np.array([1.0]), np.zeros(1), 7, "y").exact  # it has none


@pytest.mark.parametrize("seed", range(60))
def test_the_bound_holds_for_every_accumulator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratio = float(np.float32(2.0 ** rng.uniform(-13, 3)) * rng.choice([-1, 1]))
    offset, zero = float(rng.normal(0, 10 ** rng.uniform(-2, 3))), int(rng.integers(-128, 128))
    s = scaling(np.array([ratio]), np.array([offset]), zero, "y")
    centre = -(offset + zero) / ratio
    reach = 130 / abs(ratio)
    accumulators = np.unique(np.rint(np.concatenate([np.linspace(centre - reach, centre + reach, 400), [0, centre]])))
    assert off(ratio, offset, zero, accumulators.astype(np.int64)) <= s.error <= LARGEST_ERROR
    assert not s.exact


def test_the_bound_for_ratios_above_a_thousandth_is_a_few_millionths_of_a_code() -> None:
    for ratio in np.float32(2.0 ** np.linspace(-9.9, -0.1, 40)).astype(float):
        assert scaling(np.array([ratio]), np.array([17.3]), -5, "y").error < 2.0**-13


def test_a_channel_without_gain_is_its_offset() -> None:
    s = scaling(np.array([0.0, 0.3]), np.array([41.6, 1.0]), 1, "y")
    acc = np.array([[-(2**20), 7], [2**20, 7]], np.int32)
    given = requant(acc + s.added, s.mult, s.bias, s.shift)
    assert given[:, 0].tolist() == [43, 43] and given[0, 1] == 4


@pytest.mark.parametrize(("ratio", "offset", "words"), [
    (2.0**-29 * 1.1, 0.0, "would be .* codes off"), (2.0**31, 0.0, "beyond int32"), (0.3, 1e12, "offset of 1e\\+12 codes"),
    (float("nan"), 0.0, "not finite"), (1.0, float("inf"), "not finite"),
])  # fmt: skip
def test_what_no_multiplier_reaches_is_refused(ratio: float, offset: float, words: str) -> None:
    with pytest.raises(PassRefusal, match=f"^fc1: .*{words}"):
        scaling(np.array([ratio]), np.array([offset]), 0, "fc1")


def test_exact_scaling_answers_only_for_powers_of_two_and_whole_offsets() -> None:
    assert exact_scaling(np.array([0.3]), np.zeros(1), 0) is None
    assert exact_scaling(np.array([0.5]), np.array([0.25]), 0) is None  # half an accumulator unit
    assert exact_scaling(np.array([2.0**-32]), np.zeros(1), 0) is None
    assert exact_scaling(np.array([0.5]), np.array([1.5]), 0).bias.tolist() == [3]


def test_errors_are_kept_in_the_model() -> None:
    model = ModelProto()
    assert errors_of(model) == {}
    note_error(model, "a", 0.25, 0.5)
    note_error(model, "b", 2.0**-40, 0.0)
    assert errors_of(model) == {"a": (0.25, 0.5), "b": (2.0**-40, 0.0)}


def test_float32_sums_stay_within_their_bound() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        terms = rng.normal(0, 1, 200).astype(np.float32)
        total = np.float32(0)
        for term in terms:
            total = np.float32(total + term)
        assert abs(float(total) - terms.astype(np.float64).sum()) <= float_error(200, np.abs(terms).sum())
