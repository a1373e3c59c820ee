"""When things happen in the engine: memory, loader, array and output, in clock cycles."""

from dataclasses import dataclass, field

import numpy as np

from accel.simd.sizes import WORD, Build

HELD_LATENCY = 3  # cycles from reading a stationary row in its bank to having it in the array
WEIGHT_LATENCY = 2  # cycles from a load's first row until the next load's weights are taken, and from the last of them to its first row
RESIDUAL_LATENCY = 13  # cycles until the residuals of a row are read for certain
START = 2  # cycles from queueing a tile to its first row
DECODE = {"TILE": 2}  # cycles of an instruction beside those of its two words
DECODE_OTHER = 1


class HazardError(ValueError):
    """A program that reads what is not there yet or overwrites what is still needed; the message is one line."""


@dataclass(frozen=True)
class Memory:
    """The parameter memory: `bandwidth` bytes a cycle, the first `latency` cycles after they are asked for."""

    bandwidth: float = 16.0
    latency: int = 30
    prefetch: int = 512  # words the engine asks for ahead


@dataclass
class Stream:
    """The words of the program as they reach the loader, one a cycle at most."""

    memory: Memory
    now: float = 0.0  # when the word before was taken
    arrived: float = 0.0
    taken: list[float] = field(default_factory=list)
    waited: float = 0.0  # cycles the loader waited for memory

    def take(self, earliest: float = 0.0) -> float:
        """The cycle in which the next word is taken, not before `earliest`."""
        asked = self.taken[-self.memory.prefetch] if len(self.taken) >= self.memory.prefetch else 0.0
        self.arrived = max(self.arrived + WORD / self.memory.bandwidth, asked + self.memory.latency)
        ready = max(self.now + 1, earliest)
        self.waited += max(0.0, self.arrived - ready)
        self.now = max(ready, self.arrived)
        self.taken.append(self.now)
        return self.now


@dataclass
class TileTimes:
    """One tile: the cycle of the first row of each array load, and when its last result is in its bank."""

    starts: list[float]
    rows: int
    retired: float
    stream_bank: int = -1
    residual_bank: int = -1

    @property
    def end(self) -> float:
        return self.starts[-1] + self.rows


@dataclass
class ArrayTimes:
    """The array: one load of stationary operands after the other, each streamed for `rows` cycles."""

    build: Build
    tiles: list[TileTimes] = field(default_factory=list)
    last_start: float = -np.inf  # of the load before
    free: float = 0.0  # when the array may take the next load's first row
    stalls: dict[str, float] = field(default_factory=lambda: {"parameters": 0.0, "operands": 0.0, "drain": 0.0, "image": 0.0})

    def retired(self, pending: int) -> float:
        """When at most `pending` of the tiles queued so far have not retired."""
        done = self.tiles[: len(self.tiles) - pending] if pending else self.tiles
        return max((tile.retired for tile in done), default=0.0)

    def open(self, queued: float, image: float | None, drain: bool) -> float:
        """A tile has been queued; the cycle before which nothing of it moves, stationary rows included."""
        start = queued + START
        if len(self.tiles) >= self.build.queue:
            start = max(start, self.tiles[-self.build.queue].starts[0] + START)
        if drain:
            done = self.retired(0)
            self.stalls["drain"] += max(0.0, done - max(start, self.free))
            start = max(start, done)
        if image is not None:
            self.stalls["image"] += max(0.0, image - max(start, self.free))
            start = max(start, image)
        self.tiles.append(TileTimes([], 0, np.inf))
        return start

    def load(self, earliest: float, ready: float, rows: int, cause: str) -> float:
        """One load of stationary operands that are complete at `ready`; the cycle of its first row."""
        start = max(self.free, earliest, ready)
        self.stalls[cause] += max(0.0, start - max(self.free, earliest))
        self.tiles[-1].starts.append(start)
        self.last_start, self.free = start, start + rows
        return start

    def held(self, earliest: float, bank: int) -> float:
        """When the rows of `bank` are stationary: they are read once the load before has begun and the bank is free."""
        begin = max(self.last_start, earliest)
        before = self.tiles[-2] if len(self.tiles) > 1 and not self.tiles[-1].starts else None
        if before is not None and before.residual_bank == bank:
            begin = max(begin, before.end + RESIDUAL_LATENCY)
        elif before is not None and before.stream_bank == bank:
            begin = max(begin, before.end + 1)
        return begin + self.build.inputs + HELD_LATENCY

    def free_of_residuals(self, bank: int) -> float:
        """When the tile before has read its residuals, if they lie in `bank`."""
        before = self.tiles[-2] if len(self.tiles) > 1 else None
        return before.end + RESIDUAL_LATENCY if before is not None and before.residual_bank == bank else 0.0

    def close(self, rows: int, stream_bank: int, residual_bank: int) -> TileTimes:
        tile = self.tiles[-1]
        tile.rows, tile.retired = rows, tile.starts[-1] + rows + self.build.pipeline
        tile.stream_bank, tile.residual_bank = stream_bank, residual_bank
        return tile
