"""The engine in numpy: a program's bytes executed instruction by instruction, exactly, with the cycle of every step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from accel.simd.isa import Function, Instruction, IsaError, Mode, Opcode, Sink, decode
from accel.simd.lanes import Scale, TableLanes, neutral, rounded, unpack_entries
from accel.simd.results import EngineRun, ImageRun, ProgramError, Watch
from accel.simd.sizes import BRANCH, FUNCTION, IMAGE, LANES, MAIN, MATRIX, RESIDUAL, SETS, SLOTS, WORD, A, B, Build
from accel.simd.timing import DECODE, DECODE_OTHER, WEIGHT_LATENCY, ArrayTimes, HazardError, Memory, Stream

BEAT = 4  # bytes of the image stream in a beat
IMAGE_LATENCY = 4  # cycles from the last beat to the word in its bank


class Engine:
    """One build with its memories; `run` starts from reset."""

    def __init__(self, build: Build, memory: Memory | None = None) -> None:
        self.build, self.memory = build, memory or Memory()

    def run(self, program: bytes, loop: int, images: np.ndarray, watches: Sequence[Watch] = ()) -> EngineRun:
        """images uint8 [n, H, W, F] through `program`, whose part for each image starts at byte `loop`.

        ProgramError where the engine stops with an error; HazardError where the program relies on luck.
        """
        return _Run(self.build, self.memory, program, loop, images, watches).run()


@dataclass
class _Pending:
    """A tile that waits for its weights."""

    given: Instruction
    address: int
    earliest: float
    rows: list[np.ndarray] = field(default_factory=list)


class _Run:
    def __init__(
        self, build: Build, memory: Memory, program: bytes, loop: int, images: np.ndarray, watches: Sequence[Watch]
    ) -> None:
        self.build, self.program, self.loop, self.images, self.watches = build, program, loop, images, watches
        self.stream, self.array = Stream(memory), ArrayTimes(build)
        self.banks = [np.zeros((words, LANES), np.int8) for words in build.banks]
        self.readable = [np.zeros(words) for words in build.banks]  # cycle from which the word holds its last value
        self.read = [np.zeros(words) for words in build.banks]  # cycle of its last reading
        self.table = TableLanes(np.zeros((build.table_words, LANES), np.int8))
        self.table_used = np.zeros(build.table_words)
        self.table_ready = np.zeros(build.table_words)
        self.lanes = [[neutral() for _ in range(SETS)] for _ in range(SLOTS)]
        self.lanes_used = np.zeros((SLOTS, SETS))
        self.rows, self.rows_used = neutral(build.rows), 0.0
        self.colours = np.zeros((4 * 256 // WORD, WORD), np.int8)
        self.at, self.instruction = 0, 0
        self.sum, self.pending = 0, None  # type: int, _Pending | None
        self.taken, self.image_ready, self.image_read = 0, np.inf, 0.0  # images
        self.first_beat: list[float] = []
        self.logits: list[int] = []
        self.logits_at = 0.0
        self.tile, self.first_row, self.sent = 0, np.inf, False
        self.tensors: dict[str, np.ndarray] = {}
        self.done: list[ImageRun] = []

    def run(self) -> EngineRun:
        while len(self.done) < len(self.images):
            self.step()
        return EngineRun(self.done, self.array.stalls, self.stream.waited)

    def step(self) -> None:
        self.instruction = self.at
        if self.at >= len(self.program):
            raise self.error("the program ends without LOOP")
        word = self._word() + self._word()
        try:
            given = decode(word)
        except IsaError as error:
            raise self.error(str(error)) from None
        if self.pending and not (given.opcode is Opcode.LOAD or given.opcode is Opcode.WAIT):
            raise self.error(f"{given.opcode.name} before the last tile has all its weights")
        self.stream.now += DECODE.get(given.opcode.name, DECODE_OTHER)
        match given.opcode:
            case Opcode.LOAD:
                self.load(given)
            case Opcode.WAIT:
                if self.pending and given["pending"] == 0:
                    raise self.error("WAIT for a tile whose weights follow it")
                self.stream.now = max(self.stream.now, self.array.retired(given["pending"]))
            case Opcode.IMAGE:
                self.image(given)
            case Opcode.TILE:
                self.open(given)
            case Opcode.CHECK:
                self.check(given, word)
            case Opcode.SEND:
                self.send(given)
            case Opcode.LOOP:
                if not self.sent:
                    raise self.error("LOOP before SEND")
                self.at, self.sum, self.tile, self.sent = self.loop, 0, 0, False

    def error(self, reason: str) -> ProgramError:
        return ProgramError(self.instruction, reason)

    def _word(self, earliest: float = 0.0) -> bytes:
        data = self.program[self.at : self.at + WORD]
        if len(data) < WORD:
            raise self.error("the program ends inside the instruction or its words")
        self.stream.take(earliest)
        self.at += WORD
        self.sum = (self.sum + int(np.frombuffer(data, "<u4").sum(dtype=np.uint64))) & 0xFFFFFFFF
        return data

    def load(self, given: Instruction) -> None:
        sink, count, first = given["sink"], given["words"], given["address"]
        limits = {
            Sink.ROWS: self.build.rows // 2, Sink.TABLE: self.build.table_words, Sink.MATRIX: self.build.matrix_words,
            Sink.COLOURS: len(self.colours),
        }  # fmt: skip
        if sink not in Sink.__members__.values():
            raise self.error(f"sink {sink} does not exist")
        if sink in limits and first + count > limits[Sink(sink)]:
            raise self.error(f"{Sink(sink).name} words {first}..{first + count - 1} of {limits[Sink(sink)]}")
        if sink == Sink.LANES and count != LANES // 2:
            raise self.error(f"LANES takes {LANES // 2} words, not {count}")
        if sink == Sink.WEIGHTS:
            for _ in range(count):
                self.weights()
            return
        began = self.stream.now + 1
        data = b"".join(self._word() for _ in range(count))
        self._free(sink, given, began)
        values = np.frombuffer(data, np.int8).reshape(count, LANES)
        where = slice(first, first + count)
        match sink:
            case Sink.LANES:
                self.lanes[given["slot"]][given["set"]] = self._scale(given, data)
            case Sink.ROWS:
                scale, rows = self._scale(given, data), slice(2 * first, 2 * (first + count))
                self.rows.mult[rows], self.rows.bias[rows], self.rows.shift[rows] = scale.mult, scale.bias, scale.shift
                self.rows.lo, self.rows.hi, self.rows.half_up = scale.lo, scale.hi, scale.half_up
            case Sink.TABLE:
                self.table.words[where], self.table_ready[where] = values, self.stream.now + 1
            case Sink.MATRIX:
                self.banks[MATRIX][where], self.readable[MATRIX][where] = values, self.stream.now + 1
            case Sink.COLOURS:
                self.colours[where] = values

    def _scale(self, given: Instruction, data: bytes) -> Scale:
        mult, bias, shift = unpack_entries(data)
        return Scale(mult, bias, shift, given["lo"], given["hi"], bool(given["half_up"]))

    def _free(self, sink: int, given: Instruction, began: float) -> None:
        """HazardError if a LOAD that began at cycle `began` overwrites what a tile still reads."""
        where = slice(given["address"], given["address"] + given["words"])
        last = {
            Sink.LANES: float(self.lanes_used[given["slot"], given["set"]]), Sink.ROWS: self.rows_used,
            Sink.TABLE: float(self.table_used[where].max(initial=0)), Sink.MATRIX: float(self.read[MATRIX][where].max(initial=0)),
            Sink.COLOURS: self.image_ready if self.taken > len(self.done) else 0.0,
        }[Sink(sink)]  # fmt: skip
        if began < last:
            raise HazardError(f"program, byte {self.instruction}: {Sink(sink).name} is overwritten {last - began:.0f} cycles too early")

    def image(self, given: Instruction) -> None:
        """The next image may come: its bytes pass the tables of their colours and become patches in bank 0."""
        lines, beats, across, down = given["patch_lines"], given["patch_beats"], given["across"], given["down"]
        features, colours = lines * beats * BEAT, given["colours"]
        if given["stride"] * WORD < features or across * down * given["stride"] > self.build.image_words:
            raise self.error(f"{across * down} patches of {features} bytes do not fit bank 0")
        if not 1 <= colours <= 4:
            raise self.error(f"colours={colours} must be 1 to 4")
        if self.stream.now < self.image_read:
            raise HazardError(f"program, byte {self.instruction}: the image before is still read")
        if self.taken == len(self.images):
            return  # no image comes any more
        pixels = self.images[self.taken].reshape(down, lines, across, beats * BEAT).transpose(0, 2, 1, 3)
        colour = np.arange(across * beats * BEAT).reshape(across, 1, beats * BEAT) % colours
        codes = self.colours.reshape(4, 256)[colour, pixels].reshape(across * down, features)
        padded = np.zeros((across * down, given["stride"] * LANES), np.int8)
        padded[:, :features] = codes
        self.banks[IMAGE][: across * down * given["stride"]] = padded.reshape(-1, LANES)
        self.first_beat.append(self.stream.now + 1)
        self.image_ready = self.stream.now + across * down * lines * beats + IMAGE_LATENCY
        self.taken += 1

    def open(self, given: Instruction) -> None:
        self._validate(given)
        image = self.image_ready if given["wait_image"] else None
        if image == np.inf:
            raise self.error("TILE waits for an image that no IMAGE asked for")
        if given["wait_image"] and self.taken == len(self.done):
            raise self.error("TILE waits for an image that no IMAGE asked for")
        earliest = self.array.open(self.stream.now, image, bool(given["drain"]))
        earliest = max(earliest, self.array.free_of_residuals(given["stream_bank"]))
        # Stationary rows of a bank are read once the load before has begun (ArrayTimes.held), however early the tile was queued.
        moves = max(earliest, self.array.last_start) if given["mode"] == Mode.HELD else earliest
        tile = _Pending(given, self.instruction, moves)
        if given["mode"] == Mode.WEIGHTS:
            self.pending = tile
            return
        for _ in range(given["passes"] * (LANES // self.build.inputs) if given["mode"] == Mode.HELD else 1):
            ready = self.array.held(earliest, given["held_bank"]) if given["mode"] == Mode.HELD else 0.0
            self.array.load(earliest, ready, given["rows"], "operands")
        self.execute(tile)

    def weights(self) -> None:
        """One word of weights: those of one input channel for the tile's sixteen outputs."""
        tile = self.pending
        if tile is None:
            raise self.error("weights that no tile waits for")
        data = self._word(self.array.last_start + WEIGHT_LATENCY)
        tile.rows.append(np.frombuffer(data, np.int8))
        if len(tile.rows) % self.build.inputs == 0:
            self.array.load(tile.earliest, self.stream.now + WEIGHT_LATENCY, tile.given["rows"], "parameters")
        if len(tile.rows) == tile.given["passes"] * LANES:
            self.pending = None
            self.execute(tile)

    def _validate(self, given: Instruction) -> None:
        def inside(name: str, bank: int, last: int) -> None:
            if last >= self.build.banks[bank]:
                raise self.error(f"{name} reaches word {last} of bank {bank}, which has {self.build.banks[bank]}")

        rows, passes, reach = given["rows"], given["passes"], (given["rows"] - 1) * given["out_stride"]
        if not 1 <= rows <= self.build.rows or passes < 1 or given["mode"] not in Mode.__members__.values():
            raise self.error(f"{rows=}, {passes=}, mode={given['mode']}: 1 to {self.build.rows} rows, 1 pass or more, mode 0 to 2")
        if given["mode"] == Mode.COPY and passes != 1:
            raise self.error("a copy has one pass")
        inside("the stream", given["stream_bank"], given["stream_address"] + (rows - 1) * given["stream_stride"] + passes - 1)
        reads = [given["stream_bank"]]
        if given["mode"] == Mode.HELD:
            inside("the stationary operand", given["held_bank"], given["held_address"] + (passes * LANES - 1) * given["held_stride"])
            reads.append(given["held_bank"])
        if given["residual"]:
            inside("the residual", given["residual_bank"], given["residual_address"] + reach)
            reads.append(given["residual_bank"])
        writes = []
        for port, used in (("raw", given["raw"]), ("function", given["function"])):
            if used:
                inside(f"the {port} result", given[f"{port}_bank"], given[f"{port}_address"] + reach)
                writes.append(given[f"{port}_bank"])
        if len(set(reads)) != len(reads) or len(set(writes)) != len(writes) or not set(writes) <= {A, B}:
            raise self.error(f"reads of banks {reads} and writes to {writes}: all reads differ, writes differ and go to 2 and 3")
        if given["function"] not in Function.__members__.values() or given["logits"] > LANES:
            raise self.error(f"function={given['function']}, logits={given['logits']}: 0 to 2 and 0 to 16")
        if given["function"] == Function.TABLE and given["table_address"] + self._table_words(given) > self.build.table_words:
            raise self.error(f"a table from word {given['table_address']} leaves the {self.build.table_words}")

    def _table_words(self, given: Instruction) -> int:
        bits = given["table_bits"]
        return 2 ** (8 - bits) + 1 if bits else 256

    def execute(self, tile: _Pending) -> None:
        """A tile whose operands are all there: its values, and the cycles in which it reads and writes."""
        given = tile.given
        residual_bank = given["residual_bank"] if given["residual"] else -1
        times = self.array.close(given["rows"], given["stream_bank"], residual_bank)
        rows, passes = given["rows"], given["passes"]
        self.first_row = min(self.first_row, times.starts[0])
        row: np.ndarray = np.arange(rows)
        groups = []
        split = LANES // self.build.inputs if given["mode"] != Mode.COPY else 1
        for group in range(passes):
            words = given["stream_address"] + row * given["stream_stride"] + group
            for part in range(split):
                self._reads(given["stream_bank"], words, times.starts[group * split + part] + row)
            groups.append(self.banks[given["stream_bank"]][words])
        x = np.concatenate(groups, axis=1)
        if given["mode"] == Mode.COPY:
            acc = x.astype(np.int64)
        else:
            acc = (x.astype(np.float64) @ self._stationary(tile, times.starts).astype(np.float64)).astype(np.int64)
        end, last = times.end, times.starts[-1] + row
        main = self._used(MAIN, given, end) if not given["row_parameters"] else self.rows
        by_row = bool(given["row_parameters"])
        if by_row:
            self.rows_used = end + self.build.pipeline
        y = main(acc, by_row, multiply=False)
        if given["branch_affine"]:
            y = self._used(BRANCH, given, end)(y)
        out = given["raw_address"] * given["raw"] + row * given["out_stride"]
        if given["residual"]:
            words = given["residual_address"] + row * given["out_stride"]
            self._reads(given["residual_bank"], words, last)
            r = self.banks[given["residual_bank"]][words].astype(np.int64)
            if given["residual_affine"]:
                r = self._used(RESIDUAL, given, end)(r)
            total = (y << given["branch_left"]) + (r << given["residual_left"])
            y = np.clip(rounded(total, given["sum_shift"], bool(given["sum_half_up"])), given["sum_lo"], given["sum_hi"])
        written = last + self.build.pipeline
        if given["function"]:
            words = given["function_address"] + row * given["out_stride"]
            self._writes(given["function_bank"], words, self._function(given, y, end), written)
        if given["raw"]:
            self._writes(given["raw_bank"], out, y, written)
        if given["logits"]:
            wide = acc[0] + main.bias[0 if by_row else slice(None)]
            self.logits += [int(v) for v in (wide if given["wide"] else y[0])[: given["logits"]]]
            self.logits_at = times.retired
        if given["stream_bank"] == IMAGE:
            self.image_read = end
        for watch in self.watches:
            if watch.tile == self.tile:
                words = self.banks[watch.bank][watch.address : watch.address + watch.rows * watch.stride]
                self.tensors[watch.name] = words.reshape(watch.rows, -1)[:, : watch.channels].copy()
        self.tile += 1

    def _stationary(self, tile: _Pending, starts: Sequence[float]) -> np.ndarray:
        """int8 [16 * passes, 16]: one row for each input channel."""
        given = tile.given
        if given["mode"] == Mode.WEIGHTS:
            return np.stack(tile.rows)
        words = given["held_address"] + np.arange(given["passes"] * LANES) * given["held_stride"]
        per = self.build.inputs
        for index, start in enumerate(starts):
            part = slice(index * per, (index + 1) * per)
            before = starts[index - 1] if index else tile.earliest
            self._reads(given["held_bank"], words[part], np.minimum(before, start - per - 1) + np.arange(per))
        return self.banks[given["held_bank"]][words]

    def _function(self, given: Instruction, y: np.ndarray, end: float) -> np.ndarray:
        if given["function"] == Function.AFFINE:
            return self._used(FUNCTION, given, end)(y)
        where = slice(given["table_address"], given["table_address"] + self._table_words(given))
        self.table_used[where] = end + self.build.pipeline
        return self.table(y, given["table_address"], given["table_bits"], bool(given["table_half_up"]))

    def _used(self, slot: int, given: Instruction, end: float) -> Scale:
        self.lanes_used[slot, given["set"]] = end + self.build.pipeline
        return self.lanes[slot][given["set"]]

    def _reads(self, bank: int, words: np.ndarray, cycles: np.ndarray) -> None:
        late = self.readable[bank][words] - cycles
        if late.max() > 0:
            raise HazardError(
                f"program, byte {self.instruction}: tile {self.tile} reads word {words[late.argmax()]} of bank {bank}"
                f" {late.max():.0f} cycles before it is written"
            )
        self.read[bank][words] = np.maximum(self.read[bank][words], cycles)

    def _writes(self, bank: int, words: np.ndarray, values: np.ndarray, cycles: np.ndarray) -> None:
        self.banks[bank][words], self.readable[bank][words] = values, cycles

    def check(self, given: Instruction, word: bytes) -> None:
        own = int(np.frombuffer(word, "<u4").sum(dtype=np.uint64))
        if (self.sum - own) & 0xFFFFFFFF != given["sum"]:
            raise self.error("wrong checksum of the words before")
        self.sum = 0

    def send(self, given: Instruction) -> None:
        if given["count"] != len(self.logits):
            raise self.error(f"SEND of {given['count']} logits, {len(self.logits)} are there")
        if len(self.done) >= self.taken:
            raise self.error("SEND without an image")
        last = max(self.logits_at, self.stream.now + 1) + given["count"]
        logits = np.array(self.logits, np.int64).astype(np.int32)
        self.done.append(ImageRun(logits, self.tensors, self.first_beat[len(self.done)], self.first_row, last))
        self.logits, self.tensors, self.first_row, self.sent = [], {}, np.inf, True
