"""When the beats of the matrix units move: groups of PE results, computed one after the other, given OUT_LANES a beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_ops.hw.timing import NEVER, Times, last_of, places

SMALL = 64  # words up to which a buffer is read in one cycle instead of two
CORE = 7  # cycles from the arrival of a group's last operands to its first beat out, the adder tree aside
INT32_CORE = 4  # without requantization
PIPELINE = 8  # cycles that a group's places in the output buffer are taken, the reads, the tree and its own beats aside


def read_cycles(words: int) -> int:
    """Cycles of a buffer's read: distributed memory has no register behind it."""
    return 2 if words > SMALL else 1


@dataclass(frozen=True)
class Core:
    """The groups' way out. The end of group g is issued in cycle

        end[g] = max(ready[g] + cycles - 1, end[g - 1] + max(cycles, steps), room[g]),

    where room is a cycle after the beat has left that makes place; its `steps` beats leave in the cycles after
    end[g] + latency - 1; where several groups make a beat (`parts`), it leaves `latency` after the last one's end.
    """

    pe: int
    simd: int
    out_lanes: int
    cycles: int  # of a group
    read: int  # cycles of the operands' read
    requantized: bool = True

    @property
    def steps(self) -> int:
        """Beats of a group."""
        return max(self.pe // self.out_lanes, 1)

    @property
    def parts(self) -> int:
        """Groups of a beat."""
        return max(self.out_lanes // self.pe, 1)

    @property
    def interval(self) -> int:
        """Cycles between the ends of two groups, at least."""
        return max(self.cycles, self.steps)

    @property
    def tree(self) -> int:
        """Cycles of the adder tree."""
        return ((self.simd - 1).bit_length() + 1) // 2

    @property
    def latency(self) -> int:
        """Cycles from the issue of a group's end to its first beat."""
        return self.read + self.tree + (CORE if self.requantized else INT32_CORE) + (self.steps > 1)

    @property
    def depth(self) -> int:
        """Beats that the output buffer holds, with the register behind it."""
        stay = self.read + self.tree + PIPELINE + self.steps
        return max(16, self.steps * math.ceil(stay / self.interval)) + 1

    def ends(self, ready: Times, left: Times | None) -> Times:
        """The cycles in which the groups' ends are issued, int64 [groups]; `ready` is that of their first operands."""
        earliest = ready + (self.cycles - 1)
        if left is not None:
            earliest = np.maximum(earliest, self.room(left, len(ready)))
        steps = self.interval * np.arange(len(ready), dtype=np.int64)
        return np.maximum.accumulate(earliest - steps) + steps

    def room(self, left: Times, groups: int) -> Times:
        """The earliest ends, by the places in the output buffer: the last of a group's beats finds one."""
        room = np.full(groups, NEVER, np.int64)
        beats = groups * self.steps // self.parts
        free = last_of(places(left, self.depth, beats), self.steps)
        room[self.parts - 1 :: self.parts] = free
        return room

    def leave(self, ends: Times) -> Times:
        """The cycles in which the beats leave, int64 [groups * steps / parts]."""
        return (last_of(ends, self.parts)[:, None] + np.arange(self.steps) + self.latency).ravel()


@dataclass(frozen=True)
class _UnitTiming:
    """A matrix unit: when the ends of its groups are issued is its own matter, `_ends`; the rest is the core's."""

    core: Core

    @property
    def reach(self) -> int:
        return self.core.depth

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        return [self.core.leave(self._ends(taken[0], None if left is None else left[0]))]

    def _ends(self, taken: Times, left: Times | None) -> Times:
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class MatVecTiming(_UnitTiming):
    """Of tokens of `beats` beats and `rows` groups; the groups of a token are ready from the cycle after its last beat on.

    A buffered unit takes token t once the groups of token t - 2 are issued. One that gathers issues its token's first end with its
    last beat, so it takes that one after the groups of token t - 1, and where the output has room.
    """

    beats: int
    rows: int
    buffered: bool

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        ends = self._ends(taken[0], left[0])
        done = last_of(ends, self.rows)
        if self.buffered:
            return [np.repeat(places(done, 2), self.beats)]
        free = np.full(len(taken[0]), NEVER, np.int64)
        room = np.maximum(places(done, 1) + (self.core.steps - 1), self.core.room(left[0], len(ends))[:: self.rows])
        free[self.beats - 1 :: self.beats] = room
        return [free]

    def _ends(self, taken: Times, left: Times | None) -> Times:
        tokens = last_of(taken, self.beats)
        if self.buffered:
            return self.core.ends(np.repeat(tokens + 1, self.rows), left)
        ready = np.full((len(tokens), self.rows), NEVER, np.int64)
        ready[:, 0] = tokens - (self.core.cycles - 1)
        return self.core.ends(ready.ravel(), left)


@dataclass(frozen=True)
class TokenMixTiming(_UnitTiming):
    """Of images of `tokens` tokens of `words` words of `lanes` beats, to `rows` tokens.

    The `parts` groups of word w are ready from the cycle after the word's last beat in the last token; the groups of the other
    output tokens follow. Image n is taken once the groups of image n - 2 are issued.
    """

    tokens: int
    rows: int
    words: int
    lanes: int
    parts: int

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        done = last_of(self._ends(taken[0], left[0]), self.rows * self.words * self.parts)
        return [np.repeat(places(done, 2), self.tokens * self.words * self.lanes)]

    def _ends(self, taken: Times, left: Times | None) -> Times:
        word = taken.reshape(-1, self.tokens, self.words, self.lanes)[:, -1, :, -1] + 1
        ready = np.full((len(word), self.rows, self.words, self.parts), NEVER, np.int64)
        ready[:, 0] = word[:, :, None]
        return self.core.ends(ready.ravel(), left)
