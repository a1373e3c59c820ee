"""What a module costs on a device family: its parts, priced by what yosys makes of them; `psaflow bench resources` compares.

A node says which parts its RTL has (bits of adders, of registers behind a selector, of counters ...); a family has a price for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

FAMILIES = ("ecp5", "xcup")
# A block memory of 18 kbit, depth x width; from a width of 9 on each byte has a ninth bit. A RAMB36 counts as two.
BLOCK_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
DISTRIBUTED_WORDS = {True: 128, False: 64}  # up to so many words a read-only memory, or one that is written, takes no block

WIDE_ROM = 8192  # bits from which on a read-only memory of few words is a block all the same

# LUTs of a selector of one bit out of n blocks, by n: what yosys 0.70 makes; in between and beyond see `selector`.
_SELECTORS: Mapping[str, Mapping[int, float]] = {
    "ecp5": {1: 0, 2: 1, 3: 2, 4: 4.4, 5: 3, 9: 11.2, 12: 8.5, 13: 15, 16: 20},
    "xcup": {1: 0, 2: 1, 3: 1, 4: 1, 5: 2, 9: 5, 12: 4, 16: 5},
}


@dataclass(frozen=True)
class Usage:
    """Of a module or a design: LUT4 or LUT6, MULT18X18D or DSP48E2, block memories of 18 kbit."""

    lut: int
    dsp: int
    bram: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.lut + other.lut, self.dsp + other.dsp, self.bram + other.bram)


NOTHING = Usage(0, 0, 0)


@dataclass(frozen=True)
class Memory:
    """`depth` words of `width` bits; `rom` if a file fills it; `distributed` if it is read without a clock edge."""

    name: str
    depth: int
    width: int
    rom: bool = True
    distributed: bool = False

    @property
    def bits(self) -> int:
        return self.depth * self.width

    @property
    def in_luts(self) -> bool:
        """Whether the RTL asks for no block memory; a wide table of constants gets one all the same."""
        small = self.depth <= DISTRIBUTED_WORDS[self.rom] and not (self.rom and self.bits > WIDE_ROM)
        return self.distributed or small

    def __iter__(self) -> Iterator[str | int]:
        """(name, depth, width bits)."""
        return iter((self.name, self.depth, self.width))


@dataclass(frozen=True)
class Part:
    """`count` equal pieces of a module of some kind, with the sizes that its price depends on."""

    kind: str
    count: int
    sizes: tuple[int, ...] = ()


# Kind -> family -> LUTs of one piece, fitted to yosys 0.70.
Price = Callable[..., float]
PRICES: Mapping[str, Mapping[str, Price]] = {
    # one lane's rounding shift and clip: (bits of the value with its guard bit, bits of the shift)
    "requant": {
        "ecp5": lambda bits, shift: bits * (2.1 + 1.55 * shift),
        "xcup": lambda bits, shift: bits * (1.2, 1.5, 1.9, 2.9, 4.2, 5.8)[shift],
    },
    # sum of n int8 products
    "tree": {
        "ecp5": lambda n: {1: 0, 2: 18, 3: 50, 6: 144}.get(n, 31.5 * n - 20),
        "xcup": lambda n: {1: 0, 2: 16, 3: 32}.get(n, 18.2 * n - 17),
    },
    # an int8 product without a DSP
    "product": {"ecp5": lambda: 97, "xcup": lambda: 64},
    # the FIFO with credits at a module's end: (width, places, beats of an image)
    "output": {
        "ecp5": lambda width, places, beats: 15 * _counter(places) + 1.7 * _counter(beats) + 6 * _ceil(width, 4) * _ceil(places, 16),
        "xcup": lambda width, places, beats: 3.2 * _counter(places) + 0.45 * _counter(beats) + 4 + 8 * _ceil(width, 14) * _ceil(places, 32),
    },
    # two products taken out of one DSP
    "unpack": {"ecp5": lambda: 20, "xcup": lambda: 20},
    # a line between two knots, codes 2**bits apart
    "line": {"ecp5": lambda bits: 30 + 12 * bits, "xcup": lambda bits: 20 + 6 * bits},
    # two registers between streams: (width with TLAST)
    "skid": {"ecp5": lambda width: width + 6, "xcup": lambda width: width + 3},
    # a counter that wraps: (what it counts to)
    "counter": {"ecp5": lambda n: 1.6 * _counter(n) + 1, "xcup": lambda n: 0.9 * _counter(n) + 1},
    # an adder, and a register with a choice in front: (bits)
    "adder": {"ecp5": lambda bits: bits + 2, "xcup": lambda bits: bits},
    "accumulator": {"ecp5": lambda bits: 2 * bits + 2, "xcup": lambda bits: bits},
    "choice": {"ecp5": lambda bits: bits, "xcup": lambda bits: bits},
    # one out of n words: (words, bits)
    "selector": {"ecp5": lambda n, bits: bits * selector("ecp5", n), "xcup": lambda n, bits: bits * selector("xcup", n)},
    # handshake and control that no size changes
    "control": {"ecp5": lambda: 20, "xcup": lambda: 12},
}


def requantizers(lanes: int, value_bits: int, least: int, most: int) -> Part:
    """`lanes` requantizations of values of that many bits by shifts from `least` to `most`."""
    shift = (most - least).bit_length()
    return Part("requant", lanes, (max(value_bits, least + 2 ** max(shift, 1) - 1, 9) + 1, shift))


def output(lanes: int, beats: int, bits: int = 8, places: int = 16) -> Part:
    """The FIFO at a module's end: `lanes` elements of `bits` bits a beat, TLAST after `beats`."""
    return Part("output", 1, (lanes * bits, places, beats))


def written_by_lanes(memory: Memory, bits: int) -> list[Memory]:
    """A memory that is written `bits` bits of a word at a time: in LUTs one for each lane, in blocks whole bytes of nine bits for each."""
    lanes = memory.width // bits
    if memory.in_luts:
        return [Memory(memory.name, memory.depth, bits, rom=False)] * lanes
    return [memory if lanes == 1 else Memory(memory.name, memory.depth, 9 * lanes * _ceil(bits, 9), rom=False)]


def usage(parts: Iterable[Part], memories: Iterable[Memory], multipliers: Iterable[tuple[int, int, int]], family: str) -> Usage:
    """What a module of these parts costs; multipliers: (how many, bits, bits) each."""
    lut = sum(part.count * PRICES[part.kind][family](*part.sizes) for part in parts)
    lut += sum(memory_luts(memory, family) for memory in memories)
    dsp = sum(count * dsps(a, b, family) for count, a, b in multipliers)
    return Usage(round(lut), dsp, sum(brams(memory) for memory in memories))


def dsps(a: int, b: int, family: str) -> int:
    """DSPs of one signed product of a by b bits."""
    if family == "xcup":
        return _ceil(max(a, b), 27) * _ceil(min(a, b), 18)
    return _ceil(a, 18) * _ceil(b, 18)


def fabric_lut(family: str) -> int:
    """LUTs of an int8 product without a DSP."""
    return round(PRICES["product"][family]())


def brams(memory: Memory) -> int:
    """18-kbit block RAMs of a memory, 0 if it is built of LUTs.

    A memory deeper than a block has several words of it side by side, which share a block's width to the last bit; where it is
    written, each takes whole bytes of nine bits.
    """
    return 0 if memory.in_luts else min(_block_layouts(memory))[0]


def memory_luts(memory: Memory, family: str) -> float:
    """LUTs of a memory without blocks, or of the choice between blocks."""
    if memory.in_luts:
        if memory.rom:
            return memory.width * {"ecp5": 1.3 * _ceil(memory.depth, 16), "xcup": _ceil(memory.depth, 64)}[family]
        if family == "xcup":
            return _ceil(memory.width, 14) * 8 * _ceil(memory.depth, 32)
        rows = _ceil(memory.depth, 16)
        return rows * _ceil(memory.width, 4) * 6 + (memory.width * selector(family, rows) + rows if rows > 1 else 0)
    return memory.width * selector(family, min(_block_layouts(memory, family))[1])


def selector(family: str, words: int) -> float:
    """LUTs for each bit of a choice of one out of `words`."""
    table = _SELECTORS[family]
    if words in table:
        return table[words]
    above = [n for n in table if n > words]
    return table[min(above)] if above else table[max(table)] * words / max(table)


def _block_layouts(memory: Memory, family: str = "ecp5") -> list[tuple[int, int]]:
    """(blocks, words of a block's depth side by side) for every shape of the blocks."""
    found = []
    for half, depth, width in [(1, d, w) for d, w in BLOCK_SHAPES] + [(2, 2 * d, w) for d, w in BLOCK_SHAPES if family == "xcup"]:
        words = _ceil(memory.depth, depth)
        bits = memory.width if memory.rom or words == 1 or width < 9 else 9 * _ceil(memory.width, 9)
        found.append((half * _ceil(words * bits, width), words))
    return found


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _counter(n: int) -> int:
    """Bits of a counter of n values."""
    return max(n - 1, 0).bit_length()
