"""What the sixteen lanes compute behind the accumulators: exact integers in numpy."""

from dataclasses import dataclass, field

import numpy as np

from accel.simd.sizes import LANES
from custom_ops.rounding import shift_right

ENTRY_BYTES = 8  # of a lane's or a row's parameters: bias int32, mult int16, shift uint8, 0


@dataclass
class Scale:
    """clip(round((x * mult + bias) / 2**shift), lo, hi), by lane or by row: int64 arrays [n]."""

    mult: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    lo: int = -128
    hi: int = 127
    half_up: bool = False

    def __call__(self, x: np.ndarray, by_row: bool = False, multiply: bool = True) -> np.ndarray:
        """x int [rows, 16] -> int64 [rows, 16]; `by_row`: the parameters belong to rows, not to lanes."""
        mult, bias, shift = ((v[: len(x), None] if by_row else v) for v in (self.mult, self.bias, self.shift))
        scaled = x.astype(np.int64) * (mult if multiply else 1) + bias
        return np.clip(rounded(scaled, shift, self.half_up), self.lo, self.hi)


def rounded(value: np.ndarray, shift: np.ndarray | int, half_up: bool) -> np.ndarray:
    """round(value / 2**shift), ties up or to even."""
    return shift_right(value, shift, "HALF_UP" if half_up else "HALF_EVEN")


def pack_entries(mult: np.ndarray, bias: np.ndarray, shift: np.ndarray) -> bytes:
    """Parameters [n] as they lie in memory, 8 bytes each."""
    entries = np.zeros(len(bias), _ENTRY)
    entries["bias"], entries["mult"], entries["shift"] = bias, mult, shift
    return entries.tobytes()


def unpack_entries(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mult, bias, shift) as int64 [n]; of the shift's byte five bits count."""
    entries = np.frombuffer(data, _ENTRY)
    return entries["mult"].astype(np.int64), entries["bias"].astype(np.int64), entries["shift"].astype(np.int64) & 31


_ENTRY = np.dtype([("bias", "<i4"), ("mult", "<i2"), ("shift", "u1"), ("zero", "u1")])


def neutral(lanes: int = LANES) -> Scale:
    """The scale that changes no int8."""
    return Scale(np.ones(lanes, np.int64), np.zeros(lanes, np.int64), np.zeros(lanes, np.int64))


@dataclass
class TableLanes:
    """The table memory: entry words [words, 16 lanes]."""

    words: np.ndarray = field(repr=False)

    def __call__(self, x: np.ndarray, address: int, bits: int, half_up: bool) -> np.ndarray:
        """x int [rows, 16] in -128..127 -> int64 [rows, 16] through the tables from word `address` on."""
        index, lane = x + 128, np.arange(LANES)
        if bits == 0:
            return self.words[address + index, lane].astype(np.int64)
        k, f = index >> bits, index & (1 << bits) - 1
        left = self.words[address + k, lane].astype(np.int64)
        right = self.words[address + k + 1, lane].astype(np.int64)
        return left + rounded((right - left) * f, bits, half_up)
