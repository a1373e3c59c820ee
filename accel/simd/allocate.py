"""Where tensors lie: a bank each, so that one tile reads and writes no bank twice, and words while they are needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accel.simd.fuse import Layer
from accel.simd.graph import CompileError, Network
from accel.simd.isa import Mode
from accel.simd.sizes import IMAGE, LANES, A, B, Build


@dataclass(frozen=True)
class Place:
    """Token t's channels 16 * g to 16 * g + 15 are word address + t * stride + g of the bank."""

    bank: int
    address: int
    stride: int
    rows: int  # that are reserved: whole groups of 16 where a token mixer reads them


def groups(channels: int) -> int:
    """Words of a token."""
    return -(-channels // LANES)


def allocate(network: Network, layers: Sequence[Layer], build: Build) -> Mapping[str, Place]:
    """A place for every tensor in memory. CompileError names the tensor for which there is no room."""
    image = network.image
    rows = {name: network.shapes[name][0] for name in _tensors(layers, image.output)}
    for layer in layers:
        if layer.mode is Mode.HELD:
            rows[layer.x] = groups(rows[layer.x]) * LANES
    stride = {name: groups(network.shapes[name][1]) for name in rows}
    needed = rows[image.output] * stride[image.output]
    if needed > build.image_words:
        raise CompileError(f"{image.name}: {needed} words of patches exceed this build's image_words={build.image_words}")
    places = {image.output: Place(IMAGE, 0, stride[image.output], rows[image.output])}
    banks = _banks(layers, image.output, {name: rows[name] * stride[name] for name in rows})
    lives = _lives(layers)
    for name in sorted(banks, key=lambda n: lives[n][0]):
        size = rows[name] * stride[name]
        taken = sorted(
            (place.address, place.address + place.rows * place.stride)
            for other, place in places.items()
            if place.bank == banks[name] and other in lives and _overlap(lives[other], lives[name])
        )
        address = 0
        for start, end in taken:
            if address + size <= start:
                break
            address = max(address, end)
        if address + size > build.bank_words:
            tokens, channels = network.shapes[name]
            raise CompileError(
                f"tensor {name}: {tokens} tokens of {channels} channels need words {address}..{address + size - 1}"
                f" of a bank, this build has bank_words={build.bank_words}"
            )
        places[name] = Place(banks[name], address, stride[name], rows[name])
    return places


def _tensors(layers: Sequence[Layer], image: str) -> list[str]:
    return [image, *(name for layer in layers for name in layer.writes)]


def _lives(layers: Sequence[Layer]) -> dict[str, tuple[int, int]]:
    """From the layer that writes a tensor to the last that reads it."""
    lives: dict[str, tuple[int, int]] = {}
    for index, layer in enumerate(layers):
        for name in layer.writes:
            lives[name] = (index, index)
        for name in layer.reads:
            if name in lives:
                lives[name] = (lives[name][0], index)
    return lives


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _banks(layers: Sequence[Layer], image: str, words: Mapping[str, int]) -> dict[str, int]:
    """Bank A or B of every tensor but the image: what a layer reads together lies apart, and what it writes together."""
    apart: dict[str, set[str]] = {name: set() for layer in layers for name in layer.writes}
    for layer in layers:
        for pair in (layer.reads, layer.writes):
            names = [name for name in pair if name != image]
            if len(names) == 2:
                apart[names[0]].add(names[1])
                apart[names[1]].add(names[0])
    banks: dict[str, int] = {}
    filled = {A: 0, B: 0}
    for root in apart:
        if root in banks:
            continue
        side = {root: 0}
        queue = [root]
        for name in queue:
            for other in sorted(apart[name]):
                if other not in side:
                    side[other] = 1 - side[name]
                    queue.append(other)
                elif side[other] == side[name]:
                    raise CompileError(f"tensors {name} and {other} are read or written together, but two banks do not part them")
        first = A if filled[A] <= filled[B] else B
        for name, which in side.items():
            banks[name] = first if which == 0 else A + B - first
            filled[banks[name]] += words[name]
    return banks
