"""Fitted knots: optimal, never worse than subsampled ones, exact where that is possible."""

import itertools

import numpy as np
import pytest

from custom_ops.channel_lut import KNOTS
from custom_ops.rounding import ROUNDINGS
from passes.expand_table import full_table
from passes.fit_knots import SPACINGS, _cheapest, fit_knots, subsample_knots

RNG = np.random.default_rng(0)
CODES = np.arange(-128, 128)
CURVES = np.stack([np.clip(np.rint(f), -128, 127) for f in (
    40 * np.tanh(CODES / 20), CODES / (1 + np.exp(-CODES / 9)), np.maximum(CODES, -CODES / 10), 90 * np.sin(CODES / 13) * np.exp(-np.abs(CODES) / 60),
    127 * np.sign(CODES))]).astype(np.int8)  # fmt: skip


def errors(table: np.ndarray, knots: np.ndarray, rounding: str) -> np.ndarray:
    return np.abs(full_table(knots, rounding).astype(int) - table)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("every", SPACINGS)
def test_a_table_that_knots_made_is_met_exactly(every: int, rounding: str) -> None:
    knots = RNG.integers(-128, 128, (3, 256 // every + 1)).astype(np.int8)
    table = full_table(knots, rounding)
    fitted = fit_knots(table, every, rounding)
    assert fitted.dtype == np.int8 and fitted.shape == knots.shape and fitted.shape[1] in KNOTS.values()
    assert (full_table(fitted, rounding) == table).all()


@pytest.mark.parametrize("every", SPACINGS)
def test_fitted_knots_are_never_worse_than_subsampled_ones(every: int) -> None:
    fitted = errors(CURVES, fit_knots(CURVES, every, "HALF_EVEN"), "HALF_EVEN")
    taken = errors(CURVES, subsample_knots(CURVES, every), "HALF_EVEN")
    assert (fitted.max(1) <= taken.max(1)).all()
    better = fitted.max(1) < taken.max(1)
    assert (better | ((fitted**2).sum(1) <= (taken**2).sum(1))).all()
    assert better.any() or every == 2


@pytest.mark.parametrize("slack", [0, 3])
@pytest.mark.parametrize("every", [8, 16])
def test_no_pair_of_neighbouring_knots_can_be_moved_for_a_smaller_cost(every: int, slack: int) -> None:
    """Worst error, then cost, of all moves by up to 3 codes of every two neighbours: an optimum has none that is better."""
    table, weights = CURVES[:2], RNG.random((2, 256))
    least = errors(table, fit_knots(table, every, "HALF_EVEN"), "HALF_EVEN").max(1)
    knots = fit_knots(table, every, "HALF_EVEN", weights, slack)
    moves = np.array(list(itertools.product(range(-3, 4), repeat=2)))
    for row, best, worst, weight in zip(table, knots, least, weights, strict=True):
        cost = (errors(row[None], best[None], "HALF_EVEN")[0] ** 2 * weight).sum()
        assert errors(row[None], best[None], "HALF_EVEN").max() <= worst + slack
        for k in range(len(best) - 1):
            moved = np.repeat(best[None].astype(int), len(moves), 0)
            moved[:, k : k + 2] += moves
            other = errors(row[None], np.clip(moved, -128, 127).astype(np.int8), "HALF_EVEN")
            allowed = other.max(1) <= worst + slack
            assert ((other**2 * weight).sum(1)[allowed] >= cost - 1e-9).all()


def test_the_cheapest_path_is_that_of_all_paths() -> None:
    steps = [RNG.random((3, 4)), RNG.random((4, 2)), RNG.random((2, 3))]
    paths = list(itertools.product(range(3), range(4), range(2), range(3)))
    for combine, whole in ((np.add, sum), (np.maximum, max)):
        costs = [whole([steps[i][a, b] for i, (a, b) in enumerate(itertools.pairwise(p))]) for p in paths]
        found, path = _cheapest(steps, combine)
        assert found == pytest.approx(min(costs))
        assert whole([steps[i][a, b] for i, (a, b) in enumerate(itertools.pairwise(path))]) == pytest.approx(found)


def test_weighted_codes_are_met_first() -> None:
    weights = np.full(CURVES.shape, 1e-6)
    weights[:, 120:136] = 1.0
    plain = errors(CURVES, fit_knots(CURVES, 8, "HALF_EVEN"), "HALF_EVEN")
    heard = errors(CURVES, fit_knots(CURVES, 8, "HALF_EVEN", weights, slack=4), "HALF_EVEN")
    assert ((heard**2)[:, 120:136].sum(1) <= (plain**2)[:, 120:136].sum(1)).all()
    assert (heard**2)[:, 120:136].sum() < (plain**2)[:, 120:136].sum()
    assert (heard.max(1) <= plain.max(1) + 4).all()


def test_the_noisiest_table_is_fitted() -> None:
    table = RNG.choice(np.array([-128, 127], np.int8), (1, 256))
    assert errors(table, fit_knots(table, 16, "HALF_UP"), "HALF_UP").max() <= errors(table, subsample_knots(table, 16), "HALF_UP").max()


def test_subsampled_knots_are_entries_and_flat_at_the_end() -> None:
    table = RNG.integers(-128, 128, (2, 256)).astype(np.int8)
    knots = subsample_knots(table, 4)
    assert (knots[:, :-1] == table[:, ::4]).all()
    assert (knots[:, -1] == table[:, -1]).all()
