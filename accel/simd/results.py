"""What a run of the engine gives: tensors, logits, cycles, or the error it stops with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


class ProgramError(ValueError):
    """A program that the engine stops at; `address` is the byte offset of the instruction."""

    def __init__(self, address: int, reason: str) -> None:
        super().__init__(f"program, byte {address}: {reason}")
        self.address = address


@dataclass(frozen=True)
class Watch:
    """A tensor to keep: rows x channels from word `address` of `bank`, `stride` words a row, once tile `tile` is done."""

    name: str
    tile: int
    bank: int
    address: int
    stride: int
    rows: int
    channels: int


@dataclass(frozen=True)
class ImageRun:
    """What one image gave."""

    logits: np.ndarray  # int32 [classes]
    tensors: Mapping[str, np.ndarray]  # the watched ones, int8 [rows, channels]
    first_beat: float  # cycles
    first_row: float  # of its first tile in the array
    last_logit: float


@dataclass(frozen=True)
class EngineRun:
    images: Sequence[ImageRun]
    stalls: Mapping[str, float]  # array cycles lost, by cause
    loader_waited: float  # cycles

    @property
    def cold(self) -> float:
        """Cycles of the first image, from its first beat to its last logit, both included."""
        return self.images[0].last_logit - self.images[0].first_beat + 1

    @property
    def back_to_back(self) -> float:
        """Cycles from the start of the last image but one to that of the last."""
        return self.images[-1].first_row - self.images[-2].first_row
