"""3_integer.onnx -> a program: tiles in order, and the loads between them so that the array seldom waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from accel.simd.assembler import Packet, pack
from accel.simd.fuse import Layer, fuse
from accel.simd.graph import CompileError, Image, read
from accel.simd.isa import BYTES, Mode, Opcode, Sink, instruction
from accel.simd.model import BEAT
from accel.simd.results import Watch
from accel.simd.sizes import IMAGE, LANES, MATRIX, WORD, Build
from accel.simd.tiles import Plan, Tile, plan
from accel.simd.timing import DECODE_OTHER, HELD_LATENCY

HEAD = BYTES // WORD + DECODE_OTHER  # cycles of the loader for an instruction
SMALLEST = 8  # words of a load that is worth an instruction of its own
_AHEAD = 64  # tiles that are never outstanding together


@dataclass(frozen=True)
class Program:
    """What the engine runs: bytes in memory; from byte `loop` on they are repeated for each image."""

    code: bytes
    loop: int
    build: Build
    classes: int
    image: tuple[int, int, int]  # height, width, colours
    layers: Sequence[Layer]
    tiles: Sequence[Tile]
    watches: Sequence[Watch]  # every tensor in memory


def compile_model(model: onnx.ModelProto, build: Build | None = None) -> Program:
    """The program of an integer model for `build`. CompileError names what the engine or this build cannot do."""
    sizes = build or Build()
    network = read(model)
    layers = fuse(network)
    made = plan(network, layers, sizes)
    mark_hazards(made, sizes)
    image = network.image
    packets, body = _Scheduler(made, image, sizes).packets()
    watches = [Watch(image.output, 0, IMAGE, 0, made.places[image.output].stride, image.tokens, image.features)]
    for name, tile in made.complete.items():
        place = made.places[name]
        watches.append(Watch(name, tile, place.bank, place.address, place.stride, *network.shapes[name]))
    code = pack(packets)
    loop = len(pack(packets[:body]))
    return Program(
        code, loop, sizes, made.logits, (image.height, image.width, image.colours), layers, made.tiles, watches
    )


def mark_hazards(made: Plan, build: Build) -> None:
    """Set `drain` on each tile that would read a word before it is written, were nothing ever to stall.

    Stalls only move a reader further from the writer before it, so what holds without them holds always.
    """
    readable = [np.full(words, -np.inf) for words in build.banks]
    end, last_start = 0.0, 0.0
    for tile in made.tiles:
        f = tile.fields
        rows, row = f["rows"], np.arange(f["rows"])
        loads = 1 if tile.mode is Mode.COPY else f["passes"] * LANES // build.inputs
        step = max(rows, build.inputs + 1) if tile.mode is not Mode.COPY else rows
        late = -np.inf
        for index in range(loads):
            group = index * f["passes"] // loads
            words = f["stream_address"] + group + row * f["stream_stride"]
            if f["stream_bank"] != MATRIX:
                late = max(late, float((readable[f["stream_bank"]][words] - (end + index * step + row)).max()))
            if tile.mode is Mode.HELD:
                held = f["held_address"] + (index * build.inputs + np.arange(build.inputs)) * f["held_stride"]
                begin = last_start if index == 0 else end + (index - 1) * step
                late = max(late, float((readable[f["held_bank"]][held] - begin).max()))
        out = row * f["out_stride"]
        if f.get("residual"):
            begin = end + (loads - 1) * step
            late = max(late, float((readable[f["residual_bank"]][f["residual_address"] + out] - (begin + row)).max()))
        if late > 0:
            f["drain"] = 1
            end += build.pipeline + (build.inputs + HELD_LATENCY if tile.mode is Mode.HELD else 0)
        last_start = end + (loads - 1) * step
        end = last_start + rows
        for port in ("raw", "function"):
            if f.get(port):
                readable[f[f"{port}_bank"]][f[f"{port}_address"] + out] = last_start + row + build.pipeline


class _Scheduler:
    """Puts loads ahead of their tiles, between the weights of tiles before: as many words as the array gives time for."""

    def __init__(self, made: Plan, image: Image, build: Build) -> None:
        self.plan, self.image, self.build = made, image, build
        self.out: list[Packet] = []
        self.queued = -1  # the last tile in the queue
        self.retired = -len(made.tiles)  # every tile up to this one is known to have retired
        self.waiting = list(made.loads)
        self.done = 0  # words of waiting[0] that are placed

    def packets(self) -> tuple[list[Packet], int]:
        """(the program, packets before the part that is repeated)."""
        self._image()
        self._check()
        body = len(self.out)
        image_reader = max(i for i, tile in enumerate(self.plan.tiles) if tile.fields["stream_bank"] == IMAGE)
        for index, tile in enumerate(self.plan.tiles):
            if index == image_reader + 2:
                self._wait(image_reader)
                self._image()
            self._need(index)
            fields: Mapping[str, int] = tile.fields
            self.out.append(Packet(instruction(Opcode.TILE, **fields)))
            self.queued = index
            self._stream(tile)
        if image_reader + 2 >= len(self.plan.tiles):
            self._wait(image_reader)
            self._image()
        self._check(body)
        self.out.append(Packet(instruction(Opcode.SEND, count=self.plan.logits)))
        self.out.append(Packet(instruction(Opcode.LOOP)))
        return self.out, body

    def _image(self) -> None:
        """The colours' tables, and the next image may come."""
        image, padded = self.image, np.zeros((4, 256), np.int8)
        line = image.patch * image.colours
        if line % BEAT or line // BEAT > 63:
            raise CompileError(
                f"{image.name}: a patch's line of {image.patch} pixels has {line} bytes;"
                f" the engine takes multiples of {BEAT} up to {63 * BEAT}"
            )
        if image.colours > 4 or image.height // image.patch > 255 or image.width // image.patch > 255:
            raise CompileError(f"{image.name}: {image.colours} colours, {image.tokens} patches; at most 4, and 255 x 255")
        padded[: image.colours] = image.table
        data = padded[: image.colours].tobytes()
        self.out.append(Packet(instruction(Opcode.LOAD, sink=int(Sink.COLOURS), words=len(data) // WORD), data))
        self.out.append(Packet(instruction(
            Opcode.IMAGE, patch_beats=line // BEAT, patch_lines=image.patch, across=image.width // image.patch,
            down=image.height // image.patch, stride=-(-image.features // LANES), colours=image.colours,
        )))  # fmt: skip

    def _check(self, since: int = 0) -> None:
        code = np.frombuffer(pack(self.out[since:]), "<u4")
        self.out.append(Packet(instruction(Opcode.CHECK, sum=int(code.sum(dtype=np.uint64)) & 0xFFFFFFFF)))

    def _wait(self, tile: int) -> None:
        """Until tile `tile` has retired."""
        if tile <= self.retired:
            return
        self.retired = tile
        if self.queued - tile < _AHEAD:
            self.out.append(Packet(instruction(Opcode.WAIT, pending=self.queued - tile)))

    def _need(self, tile: int) -> None:
        """Everything that must be loaded before tile `tile`."""
        while self.waiting and self.waiting[0].tile <= tile:
            self._place(self.waiting[0].words)

    def _place(self, most: int) -> int:
        """The next load, or at most `most` words of it; the words that this took."""
        load, before = self.waiting[0], len(self.out)
        self._wait(load.after)
        count = min(most, load.words - self.done)
        fields = dict(load.fields)
        if "address" in fields or load.sink is Sink.ROWS:
            fields["address"] = fields.get("address", 0) + self.done
        data = load.data[self.done * WORD : (self.done + count) * WORD]
        self.out.append(Packet(instruction(Opcode.LOAD, sink=int(load.sink), words=count, **fields), data))
        self.done += count
        if self.done == load.words:
            self.waiting.pop(0)
            self.done = 0
        return count + HEAD * (len(self.out) - before)

    def _ahead(self, budget: int) -> None:
        """Loads for later tiles in `budget` words, if what they replace is about to retire anyway."""
        while self.waiting and budget >= HEAD * 2 + SMALLEST:
            load = self.waiting[0]
            if load.after >= self.queued or (load.sink is Sink.LANES and budget < load.words + 2 * HEAD):
                return
            budget -= self._place(min(budget - 2 * HEAD, load.words) if load.sink is not Sink.LANES else load.words)

    def _stream(self, tile: Tile) -> None:
        """The tile's weights, one array load after the other, and other loads in the time that each is streamed."""
        rows, passes = tile.fields["rows"], tile.fields["passes"]
        if tile.mode is not Mode.WEIGHTS:
            self._ahead(rows * passes * (LANES // self.build.inputs if tile.mode is Mode.HELD else 1))
            return
        step = self.build.inputs * WORD
        per_load = rows - self.build.inputs - HEAD
        loads = [tile.weights[i : i + step] for i in range(0, len(tile.weights), step)]
        if per_load < HEAD * 2 + SMALLEST:
            loads = [tile.weights]
        for index, part in enumerate(loads):
            self.out.append(Packet(instruction(Opcode.LOAD, sink=int(Sink.WEIGHTS), words=len(part) // WORD), part))
            if index:
                self._ahead(per_load)
        if len(loads) > 1:
            self._ahead(per_load)


__all__ = ["CompileError", "Program", "compile_model", "mark_hazards"]
