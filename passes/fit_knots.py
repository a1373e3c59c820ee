"""The knots that stand for a full table: every 2**b-th code, linear between, rounded as ChannelLUT rounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from custom_ops.channel_lut import FULL
from custom_ops.rounding import shift_right

SPACINGS = (2, 4, 8, 16)  # codes from knot to knot
LOWEST, HIGHEST = -128, 127
FORBIDDEN = np.inf
Step = tuple[np.ndarray, np.ndarray]  # worst error and cost [a, b] of a segment whose knots are the a-th and b-th candidates


def subsample_knots(table: np.ndarray, every: int) -> np.ndarray:
    """table int8 [C, 256] -> int8 [C, 256 / every + 1]: every `every`-th entry; the end, behind the last code, repeats the last entry.

    As Singh & Bazargan do (doi 10.1145/3705926).
    """
    return np.concatenate([table[:, ::every], table[:, -1:]], axis=1)


def fit_knots(table: np.ndarray, every: int, rounding: str, weights: np.ndarray | None = None, slack: int = 0) -> np.ndarray:
    """table int8 [C, 256] -> int8 [C, 256 / every + 1]: per channel the knots with the least worst error W and then least cost.

    The cost is the sum of squared errors, each times its entry in `weights` [C, 256] (how often the code occurs; all 1 without);
    knots whose worst error is up to W + `slack` compete for it. Both optima are exact, in the op's own integers.
    """
    if weights is None:
        weights = np.ones(table.shape)
    rows = table.astype(np.int64)
    return np.stack([_fit_row(row, every, rounding, weight, slack) for row, weight in zip(rows, weights, strict=True)])


def _fit_row(row: np.ndarray, every: int, rounding: str, weight: np.ndarray, slack: int) -> np.ndarray:
    """A knot is the answer for its own code, so with a worst error of W it lies within W of that entry: candidates are those only.

    W is not known, hence a guess; what it leads to is feasible, so W is at most that, and a guess that is not below it is proven.
    """
    reach = 2
    while True:
        candidates, steps = _segments(row, every, reach, rounding, weight)
        least = int(_cheapest([worst for worst, _ in steps], np.maximum)[0])
        if least <= reach:
            break
        reach = min(least, 2 * reach)
    if least + slack > reach:
        candidates, steps = _segments(row, every, least + slack, rounding, weight)
    allowed = [np.where(worst <= least + slack, cost, FORBIDDEN) for worst, cost in steps]
    path = _cheapest(allowed, np.add)[1]
    return np.array([values[at] for values, at in zip(candidates, path, strict=True)], np.int8)


def _segments(row: np.ndarray, every: int, reach: int, rounding: str, weight: np.ndarray) -> tuple[list[np.ndarray], list[Step]]:
    """(candidates of each knot, steps from each to the next); the last knot answers for no code, so all codes are its candidates."""
    near = [np.arange(max(t - reach, LOWEST), min(t + reach, HIGHEST) + 1) for t in row[::every]]
    candidates = [*near, np.arange(LOWEST, HIGHEST + 1)]
    fraction, bits, steps = np.arange(every), every.bit_length() - 1, []
    for k in range(FULL // every):
        codes = slice(k * every, (k + 1) * every)
        left, right = candidates[k][:, None, None], candidates[k + 1][None, :, None]
        error = np.abs(left + shift_right((right - left) * fraction, bits, rounding) - row[codes])
        steps.append((error.max(-1), (error * error) @ weight[codes]))
    return candidates, steps


def _cheapest(steps: list[np.ndarray], combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[float, list[int]]:
    """(cost, candidate of each knot) of the cheapest path through costs [a, b] of neighbours; dynamic programming."""
    best, came_from = np.zeros(len(steps[0])), []
    for step in steps:
        total = combine(best[:, None], step)
        came_from.append(total.argmin(0))
        best = total.min(0)
    path = [int(best.argmin())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return float(best.min()), path[::-1]
