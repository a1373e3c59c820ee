"""What a node costs on an ECP5: estimates from modules synthesised with yosys, per lane or per product."""

from __future__ import annotations

import math
from collections.abc import Iterable

from custom_ops.hw.node import Memory

BRAM_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))  # an EBR's depth x width
LUTRAM_BITS = 1024  # a memory up to this size goes into distributed RAM: 64 bits in 8 LUT4

TREE_LUT = 27  # LUT4 of the adder tree, for each product
FABRIC_LUT = 140  # an int8 product made of LUTs and carry chains
REQUANT_LUT = 175  # one lane: 141 LUT4 and 17 CCU2C
AFFINE_LUT = 40  # one lane's wide multiply-add beside its DSPs
STREAM_LUT = 12  # handshake, counters and TLAST, for each lane's byte of registers
CONTROL_LUT = 60  # counters and state of a module that folds


def brams(memory: Memory) -> int:
    """18-kbit block RAMs of a memory, best of the EBR's shapes; 0 if it is small enough for LUTs."""
    if memory.distributed or memory.bits <= LUTRAM_BITS:
        return 0
    return min(math.ceil(memory.depth / d) * math.ceil(memory.width / w) for d, w in BRAM_SHAPES)


def resources(memories: Iterable[Memory], dsp: int = 0, lut: int = 0) -> dict[str, int]:
    """dsp, bram, lut of a module: the given arithmetic plus its memories."""
    memories = list(memories)
    small = sum(math.ceil(m.bits / 8) for m in memories if brams(m) == 0)
    return {"dsp": dsp, "bram": sum(map(brams, memories)), "lut": lut + small}
