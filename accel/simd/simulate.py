"""simd_engine in Verilator, with an AXI4 memory of any latency and bandwidth: logits, tensors and cycles of a program."""

import logging
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel import tools
from accel.compile_model import SimulationError
from accel.instance import RTL
from accel.simd.compiler import Program
from accel.simd.results import EngineRun, ImageRun, ProgramError
from accel.simd.sizes import LANES, Build
from accel.simd.timing import Memory

log = logging.getLogger(__name__)

SOURCES = RTL / "simd"
HARNESS = Path(__file__).with_name("harness.cc")
CODES = {
    1: "wrong checksum", 2: "bad opcode", 3: "address or size out of range", 4: "wrong order", 5: "wrong sum of the words", 6: "memory",
}  # fmt: skip
_TAPS = ("raw_write", "raw_data", "function_write", "function_data")
_SIZES = {"r": 16, "f": 16, "l": 13, "b": 8, "e": 28}


@dataclass(frozen=True)
class Simulator:
    """A compiled engine of one build."""

    binary: Path
    build: Build

    def run(
        self, program: Program, images: np.ndarray, memory: Memory | None = None, seed: int = 1, beats: float = 1.0, ready: float = 1.0,
        missing: int = 0,
    ) -> EngineRun:  # fmt: skip
        """images uint8 [n, H, W, F]; `beats`, `ready`: chance of a new image beat and of taking a logit in a cycle.

        missing: bytes at the program's end that the memory does not have; it answers with an error.

        ProgramError where the engine stopped with an error; SimulationError where it hangs.
        """
        given = memory or Memory()
        limit = 20_000 + 40 * len(program.code) * len(images) + 8 * images.size
        head = (
            f"{len(program.code)} {program.loop} {len(images)} {images[0].size} {given.latency} {given.bandwidth}"
            f" {seed} {beats} {ready} {limit} {missing}\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder) / "job", Path(folder) / "result"
            job.write_bytes(head.encode() + program.code + images.tobytes())
            done = subprocess.run([self.binary, job, result], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SimulationError(f"{self.binary.name}: {done.stderr.strip() or done.returncode}")
            return _read(result.read_bytes(), program, len(images))


def compile_engine(build: Build, work: Path) -> Simulator:
    """Verilate simd_engine with the sizes of `build` under `work`; what is there already is taken."""
    parameters = {
        "INPUTS": build.inputs, "IMAGE_WORDS": build.image_words, "MATRIX_WORDS": build.matrix_words, "BANK_WORDS": build.bank_words,
        "ROWS": build.rows, "TABLE_WORDS": build.table_words, "QUEUE": build.queue,
    }  # fmt: skip
    sources = [*sorted(SOURCES.glob("*.sv")), *sorted(RTL.glob("*.sv"))]
    state = [path.read_text() for path in (*sources, SOURCES / "simd_isa.svh", HARNESS)]
    folder = Path(work) / f"simd_{tools.digest(tools.version('verilator'), repr(parameters), *state)}"
    if (folder / "Vtop").is_file():
        return Simulator(folder / "Vtop", build)
    building = Path(tempfile.mkdtemp(dir=work, prefix="simd_building_"))
    taps = [f'public_flat_rd -module "simd_engine" -var "{name}"' for name in _TAPS]
    (building / "taps.vlt").write_text("\n".join(["`verilator_config", *taps, ""]))
    options = ["--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "-Wno-fatal", "-Wno-lint"]
    options += ["-Wno-style", "--prefix", "Vtop", "--Mdir", ".", "--top-module", "simd_engine", "-CFLAGS", "-O1"]
    options += [f"-G{name}={value}" for name, value in parameters.items()]
    tools.run("verilator", [*options, f"-I{SOURCES}", "taps.vlt", *map(str, sources), str(HARNESS)], building, building / "verilator.log")
    if folder.exists():
        shutil.rmtree(building)
    else:
        building.rename(folder)
    return Simulator(folder / "Vtop", build)


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        kind = chr(data[at])
        yield kind, data[at + 1 : at + 1 + _SIZES[kind]]
        at += 1 + _SIZES[kind]


def _read(data: bytes, program: Program, count: int) -> EngineRun:
    rows: dict[str, list[bytes]] = {"r": [], "f": []}
    logits: list[int] = []
    last, first = [], []
    end: tuple[int, ...] = ()
    for kind, record in _records(data):
        if kind in rows:
            rows[kind].append(record)
        elif kind == "l":
            cycle, value, closes = struct.unpack("<QiB", record)
            logits.append(value)
            if closes:
                last.append(cycle)
        elif kind == "b":
            first.append(struct.unpack("<Q", record)[0])
        else:
            end = struct.unpack("<7I", record)
    if end[0] & 2:
        raise ProgramError(end[1], CODES.get(end[0] >> 4 & 15, "error"))
    if len(last) != count or len(logits) != count * program.classes:
        raise SimulationError(f"{len(last)} of {count} images and {len(logits)} logits after {end[2]} cycles")
    tensors = _tensors(program, rows, count)
    runs = [
        ImageRun(np.array(logits[i * program.classes : (i + 1) * program.classes], np.int32), tensors[i], first[i], last[i], last[i])
        for i in range(count)
    ]
    return EngineRun(runs, {"parameters": end[3], "drain": end[4], "image": end[5]}, 0.0)


def _tensors(program: Program, rows: dict[str, list[bytes]], count: int) -> Sequence[dict[str, np.ndarray]]:
    """The results as the lanes wrote them: each tensor is a run of tiles, sixteen channels each."""
    written = {kind: np.frombuffer(b"".join(parts), np.int8).reshape(-1, LANES) for kind, parts in rows.items()}
    found, at = [], {"r": 0, "f": 0}
    for _ in range(count):
        ports: dict[tuple[int, int], dict[int, np.ndarray]] = {}
        for index, tile in enumerate(program.tiles):
            for kind, port in (("r", "raw"), ("f", "function")):
                if tile.fields.get(port):
                    part = written[kind][at[kind] : at[kind] + tile.fields["rows"]]
                    at[kind] += tile.fields["rows"]
                    ports.setdefault((index, tile.fields[f"{port}_bank"]), {})[tile.fields[f"{port}_address"]] = part
        tensors = {}
        for watch in program.watches:
            first = watch.tile - watch.stride + 1
            parts = [ports.get((first + g, watch.bank), {}).get(watch.address + g) for g in range(watch.stride)]
            whole = [part for part in parts if part is not None]
            if len(whole) == watch.stride:
                tensors[watch.name] = np.concatenate(whole, axis=1)[:, : watch.channels]
        found.append(tensors)
    return found
