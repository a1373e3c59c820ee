"""What a build of the engine can hold; a program is compiled for it and refused by a smaller one."""

from collections.abc import Sequence
from dataclasses import dataclass

LANES = 16  # int8 values in a word of activations or parameters, output channels at once
WORD = 16  # bytes
IMAGE, MATRIX, A, B = range(4)  # the activation memories ("banks")
SLOTS = 4  # places for per-channel parameters: main, branch, residual, function
MAIN, BRANCH, RESIDUAL, FUNCTION = range(SLOTS)
SETS = 4  # tiles' worth of per-channel parameters


class BuildError(ValueError):
    """A size that no engine has; the message is one line."""


@dataclass(frozen=True)
class Build:
    """The maximum sizes of one bitstream."""

    inputs: int = 16  # input channels at once: the array is inputs x 16
    image_words: int = 256  # of 16 bytes: an image as patches
    matrix_words: int = 512  # token mixers' weights
    bank_words: int = 2048  # each of the two activation memories
    rows: int = 256  # tokens
    table_words: int = 2048  # of 16 bytes: one entry of 16 channels
    queue: int = 4  # tiles between loader and array
    pipeline: int = 26  # cycles from reading an operand to reading the result made of it, at most

    def __post_init__(self) -> None:
        if self.inputs not in (8, 16):
            raise BuildError(f"inputs={self.inputs} must be 8 or 16")
        limits = {"image_words": 4096, "matrix_words": 4096, "bank_words": 4096, "rows": 512, "table_words": 2048}
        for name, most in limits.items():
            value = getattr(self, name)
            if not 16 <= value <= most or value % 16:
                raise BuildError(f"{name}={value} must be a multiple of 16 from 16 to {most}")
        if not 1 <= self.queue <= 16:
            raise BuildError(f"queue={self.queue} must be 1 to 16")

    @property
    def banks(self) -> Sequence[int]:
        """Words of each bank, by its number."""
        return self.image_words, self.matrix_words, self.bank_words, self.bank_words
