"""numpy arrays -> memory words and stream beats; lane 0 in the low bits, two's complement."""

import numpy as np


def words(lanes: np.ndarray, bits: int) -> list[int]:
    """lanes int [words, lanes] -> words of lanes * bits bits. ValueError where a value needs more than `bits`."""
    lanes = np.asarray(lanes)
    lowest, highest = int(lanes.min(initial=0)), int(lanes.max(initial=0))
    if lowest < -(1 << bits - 1) or highest >= 1 << bits:
        raise ValueError(f"values {lowest}..{highest} do not fit {bits} bits")
    mask = (1 << bits) - 1
    packed = []
    for row in lanes.tolist():
        word = 0
        for value in reversed(row):
            word = word << bits | value & mask
        packed.append(word)
    return packed


def fields(columns: list[tuple[np.ndarray, int]]) -> list[int]:
    """Words whose fields are `columns` (int [words], bits), the first in the low bits."""
    packed, offset = [0] * len(columns[0][0]), 0
    for column, bits in columns:
        for index, value in enumerate(words(np.asarray(column)[:, None], bits)):
            packed[index] |= value << offset
        offset += bits
    return packed


def join(packed: list[int], lanes: int, bits: int) -> list[int]:
    """Every `lanes` consecutive words of `bits` bits side by side in one, the first in the low bits."""
    return words(np.array(packed, object).reshape(-1, lanes), bits)


def hex_text(packed: list[int], bits: int) -> str:
    """What $readmemh reads: one word of `bits` bits a line."""
    digits = -(-bits // 4)
    return "".join(f"{word:0{digits}x}\n" for word in packed)


def matrix_words(weight: np.ndarray, pe: int, simd: int) -> list[int]:
    """weight int8 [M, K] -> words of pe * simd bytes: word f*(K/simd) + j, lane p*simd + s is
    weight[f*pe + p, j*simd + s]."""
    m, k = weight.shape
    folded = weight.reshape(m // pe, pe, k // simd, simd).transpose(0, 2, 1, 3)
    return words(folded.reshape(-1, pe * simd), 8)


def to_beats(values: np.ndarray, lanes: int, bits: int = 8) -> np.ndarray:
    """Integers of `bits` (8 or 32) bits, in stream order -> uint8 [beats, lanes * bits / 8]."""
    dtype = {8: np.uint8, 32: np.uint32}[bits]
    data = np.ascontiguousarray(np.asarray(values).astype(np.int64).astype(dtype).astype(f"<u{bits // 8}"))
    return data.reshape(-1, lanes).view(np.uint8)


def from_beats(beats: np.ndarray, bits: int = 8, signed: bool = True) -> np.ndarray:
    """uint8 [beats, bytes] -> the elements of `bits` (8 or 32) bits in stream order."""
    return np.ascontiguousarray(beats).view(f"<{'i' if signed else 'u'}{bits // 8}").reshape(-1)
