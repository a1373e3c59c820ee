"""When beats move: the cycles at which a module takes and gives them, as sums and maxima over int64 arrays.

`taken[i]` is the cycle in which beat i of a stream is handed over at the module's input, `left[i]` at its output; beats are
numbered over any number of images, int64 [beats]. A module is a marked graph: every event happens as soon as all events that
it waits for have happened, each a fixed number of cycles before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Times = np.ndarray  # int64 [beats over all images], cycles

NEVER = -(2**62)  # an event that nothing has to wait for
BUFFER = 16 + 1  # beats that an output_buffer and the register behind it hold
OUT = 2  # cycles from a beat's push into an output_buffer to its leaving


class Timing(Protocol):
    """The two halves of a module's timing."""

    @property
    def reach(self) -> int:
        """Beats that an event looks back at most, where those are not a token or an image."""
        ...

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        """Of each output the cycles at which its beats leave, from those at which the inputs' beats are `taken`.

        Exactly those of the RTL if nothing behind the module waits; with `left`, the cycles at which the beats are in fact
        taken away, the earliest ones that this leaves possible.
        """
        ...

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        """Of each input the earliest cycles at which the module is ready for its beats, if others are `taken` and `left`."""
        ...


def in_order(earliest: Times, interval: int = 1) -> Times:
    """The least t >= earliest with t[i] >= t[i - 1] + interval: one server that takes `interval` cycles."""
    steps = interval * np.arange(len(earliest), dtype=np.int64)
    return np.maximum.accumulate(earliest - steps) + steps


def places(left: Times, count: int, beats: int | None = None) -> Times:
    """Cycle from which beat i finds one of `count` places free: left[i - count] + 1; NEVER for the first `count` of `beats`."""
    beats = len(left) if beats is None else beats
    free = np.full(beats, NEVER, np.int64)
    behind = left[: max(beats - count, 0)] + 1
    free[count : count + len(behind)] = behind
    return free


def last_of(times: Times, group: int) -> Times:
    """The time of each group's last beat, int64 [beats / group]."""
    return times[group - 1 :: group]


@dataclass(frozen=True)
class Pipeline:
    """left[i] = max over the inputs of taken[i] + latency; beat i is taken once beat i - `count` has left.

    Several inputs give their beats together (a join), several outputs get each beat alike (a fork).
    """

    latency: int
    count: int = BUFFER
    outputs: int = 1

    @property
    def reach(self) -> int:
        return self.count

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        return [np.maximum.reduce(list(taken)) + self.latency] * self.outputs

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        free = np.maximum.reduce([*taken, *(places(times, self.count) for times in left)])
        return [free] * len(taken)
