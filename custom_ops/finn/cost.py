"""What our modules cost on AMD devices, in LUT6: fitted to yosys 0.70, `synth_xilinx -family xcup`, PE 1 to 8; within a third of it.

FINN's estimates leave out the logic of its own RTL matrix units and adders (0 LUT); these do not, so a sum over both is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable

from custom_ops.hw.cost import brams
from custom_ops.hw.node import Memory

CONTROL_LUT = 60  # counters, handshake and the credits of the output
LANE_LUT = 5  # one lane's byte in the output's memory
REQUANT_LUT_PER_BIT = 5  # one lane's bias, rounding shift and clip, for each bit of the value that is rounded
TREE_LUT = 20  # of the adder tree, for each product


LOGIC_WORDS = {True: 128, False: 64}  # up to so many words a read-only memory, or one that is written, is built of LUTs


def block_rams(memory: Memory) -> int:
    """18-kbit blocks of a memory: RAMB18 have the shapes of the ECP5's blocks."""
    return 0 if memory.depth <= LOGIC_WORDS[memory.rom] else max(brams(memory), 1)


def memory_luts(memories: Iterable[Memory]) -> int:
    """LUTs of those memories that take no block: 64 words of one bit each."""
    return sum(-(-m.depth // 64) * m.width for m in memories if not block_rams(m))


def block_efficiency(memories: Iterable[Memory]) -> float:
    """Bits that are used of the blocks that are taken; 1 without any."""
    blocked = [m for m in memories if block_rams(m)]
    return sum(m.bits for m in blocked) / (18432 * sum(map(block_rams, blocked))) if blocked else 1.0
