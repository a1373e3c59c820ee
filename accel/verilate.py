"""SystemVerilog with AXI-Stream ports, compiled by Verilator and run from Python on arrays of beats.

The model and the loop of harness.cc become one shared library, called through ctypes.
"""

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from accel.compile_model import Module, SimulationError, Stream, Tap, verilator_options

__all__ = ["Access", "Answer", "Beats", "Run", "SimulationError", "Simulator", "Stream", "Tap", "build"]

_SLICE = 50_000  # cycles between two looks at the clock


@dataclass(frozen=True)
class Beats:
    """What passed one stream: data uint8 [beats, bytes], cycle uint64 [beats], last bool [beats] or None."""

    data: np.ndarray
    cycles: np.ndarray
    last: np.ndarray | None
    blocked: int = 0  # cycles in which it was valid and its reader not ready
    starved: int = 0  # cycles in which its reader was ready and it not valid


@dataclass(frozen=True)
class Access:
    """One read of a register at the byte `address`, or a write where there is a `value`."""

    address: int
    value: int | None = None


@dataclass(frozen=True)
class Answer:
    """What came of an access: the data of a read, the response (0 OKAY, 2 SLVERR), the cycle after it."""

    data: int
    response: int
    cycle: int


@dataclass(frozen=True)
class Run:
    """The end of a run; cycles count from the release of the reset."""

    outputs: dict[str, Beats]
    taps: dict[str, Beats]
    taken: dict[str, np.ndarray]  # of each input the cycles in which its beats were taken, uint64 [beats]
    cycles: int
    seconds: float  # wall clock, of the simulation alone
    answers: tuple[Answer, ...] = ()  # of `before`, then of `after`

    @property
    def first_input_cycle(self) -> dict[str, int]:
        """0 where no beat was taken."""
        return {prefix: int(cycles[0]) if len(cycles) else 0 for prefix, cycles in self.taken.items()}

    @property
    def last_input_cycle(self) -> dict[str, int]:
        """0 where no beat was taken."""
        return {prefix: int(cycles[-1]) if len(cycles) else 0 for prefix, cycles in self.taken.items()}


Progress = Callable[[int, dict[str, int]], None]  # (cycle, beats so far of each output)


@dataclass
class Simulator:
    """A compiled module; every run() starts from the reset."""

    library: Path
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    taps: tuple[Tap, ...]
    cwd: Path
    _dll: ctypes.CDLL = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._dll = _load(self.library)

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        expected: Mapping[str, int],
        seed: int = 0,
        valid_probability: float | Mapping[str, float] = 1.0,
        ready_probability: float | Mapping[str, float] = 1.0,
        pauses: Mapping[str, tuple[int, int]] | None = None,
        timeout_cycles: int = 1_000_000_000,
        idle_cycles: int = 1_000_000,
        drain_cycles: int = 64,
        timeout_seconds: float | None = None,
        progress: Progress | None = None,
        last: Mapping[str, np.ndarray] | None = None,
        before: Sequence[Access] = (),
        after: Sequence[Access] = (),
    ) -> Run:
        """Feed `inputs` {prefix: uint8 [beats, bytes]} until `expected` {prefix: beats} have come out.

        The probabilities are those of a new tvalid and of tready in a cycle, for all streams or per prefix.
        pauses: {prefix: (from, until)}, cycles in which that stream offers or takes no beat.
        Seed 0 starts every register without a reset at 0, other seeds at random. `drain_cycles` more cycles
        watch for surplus beats. `last` {prefix: bool [beats]}: tlast in place of the stream's packets. `before` and
        `after` access the top's registers, one by one, before the first beat and after the drain.
        SimulationError after `timeout_cycles`, after `idle_cycles` in which no beat moved anywhere, after
        `timeout_seconds`, at a surplus beat and where an output or a tap breaks the protocol.
        """
        feeds = [self._feed(stream, inputs) for stream in self.inputs]
        if set(expected) != {stream.prefix for stream in self.outputs}:
            raise ValueError(
                f"expected beats of {sorted(expected)}; "
                f"the outputs are {sorted(stream.prefix for stream in self.outputs)}"
            )
        ends = {prefix: np.ascontiguousarray(marks, np.uint8) for prefix, marks in (last or {}).items()}
        for stream, feed in zip(self.inputs, feeds, strict=True):
            if stream.prefix in ends and len(ends[stream.prefix]) != len(feed):
                raise ValueError(f"{stream.prefix}: {len(ends[stream.prefix])} tlast for {len(feed)} beats")
        dll = self._dll
        handle = dll.psaflow_new(seed, str(self.cwd).encode())
        try:
            dll.psaflow_limits(handle, idle_cycles, drain_cycles)
            answers = [self._access(handle, access) for access in before]
            for index, (stream, feed) in enumerate(zip(self.inputs, feeds, strict=True)):
                dll.psaflow_input(
                    handle,
                    index,
                    feed.ctypes.data_as(_BYTES),
                    ends[stream.prefix].ctypes.data_as(_BYTES) if stream.prefix in ends else None,
                    len(feed),
                    stream.packet,
                    _probability(valid_probability, stream.prefix),
                )
            for index, stream in enumerate(self.outputs):
                dll.psaflow_output(
                    handle, index, expected[stream.prefix], _probability(ready_probability, stream.prefix)
                )
            for prefix, (start, end) in (pauses or {}).items():
                dll.psaflow_pause(handle, *self._port(prefix), start, end)
            seconds = self._loop(handle, timeout_cycles, timeout_seconds, progress)
            cycles = dll.psaflow_cycle(handle)
            outputs = {s.prefix: self._beats(handle, 1, i, s.bytes) for i, s in enumerate(self.outputs)}
            tapped = {t.signal: self._beats(handle, 2, i, t.bytes) for i, t in enumerate(self.taps)}
            answers += [self._access(handle, access) for access in after]
            return Run(
                outputs=outputs,
                taps=tapped,
                taken={s.prefix: self._taken(handle, i) for i, s in enumerate(self.inputs)},
                cycles=cycles,
                seconds=seconds,
                answers=tuple(answers),
            )
        finally:
            dll.psaflow_delete(handle)

    def _port(self, prefix: str) -> tuple[int, int]:
        """(0 for an input, 1 for an output; its number)."""
        for kind, streams in enumerate((self.inputs, self.outputs)):
            for index, stream in enumerate(streams):
                if stream.prefix == prefix:
                    return kind, index
        names = ", ".join(stream.prefix for stream in (*self.inputs, *self.outputs))
        raise ValueError(f"pauses: no stream {prefix}; there are {names}")

    def _access(self, handle: int, access: Access) -> Answer:
        data, response = ctypes.c_uint32(access.value or 0), ctypes.c_uint32()
        write = access.value is not None
        done = self._dll.psaflow_access(handle, write, access.address, ctypes.byref(data), ctypes.byref(response))
        if done == 2:
            raise SimulationError(self._dll.psaflow_message(handle).decode())
        return Answer(data.value, response.value, self._dll.psaflow_cycle(handle))

    def _feed(self, stream: Stream, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if stream.prefix not in inputs:
            raise ValueError(f"no input for {stream.prefix}; given are {sorted(inputs)}")
        array = np.ascontiguousarray(inputs[stream.prefix])
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != stream.bytes:
            raise ValueError(
                f"{stream.prefix}: uint8 [beats, {stream.bytes}] expected, "
                f"{array.dtype} {list(array.shape)} given"
            )
        return array

    def _loop(
        self, handle: int, timeout_cycles: int, timeout_seconds: float | None, progress: Progress | None
    ) -> float:
        dll, start = self._dll, time.perf_counter()
        while True:
            left = timeout_cycles - dll.psaflow_cycle(handle)
            if left <= 0:
                waits = dll.psaflow_waits(handle).decode()
                raise SimulationError(f"not done after {timeout_cycles} cycles: {waits}")
            status = dll.psaflow_step(handle, min(left, _SLICE))
            if status == 2:
                raise SimulationError(dll.psaflow_message(handle).decode())
            if progress is not None:
                progress(
                    dll.psaflow_cycle(handle),
                    {s.prefix: self._count(handle, i) for i, s in enumerate(self.outputs)},
                )
            seconds = time.perf_counter() - start
            if status == 1:
                return seconds
            if timeout_seconds is not None and seconds > timeout_seconds:
                waits = dll.psaflow_waits(handle).decode()
                raise SimulationError(f"not done after {timeout_seconds} s: {waits}")

    def _taken(self, handle: int, index: int) -> np.ndarray:
        cycles = ctypes.POINTER(ctypes.c_uint64)()
        n = self._dll.psaflow_sent(handle, index, ctypes.byref(cycles))
        return np.ctypeslib.as_array(cycles, (n,)).copy() if n else np.zeros(0, np.uint64)

    def _count(self, handle: int, index: int) -> int:
        return self._dll.psaflow_record(handle, 1, index, *(ctypes.byref(p) for p in _pointers()))

    def _beats(self, handle: int, kind: int, index: int, width: int) -> Beats:
        data, cycles, last = _pointers()
        stalls = ctypes.c_uint64(), ctypes.c_uint64()
        self._dll.psaflow_stalls(handle, kind, index, *map(ctypes.byref, stalls))
        blocked, starved = (count.value for count in stalls)
        n = self._dll.psaflow_record(handle, kind, index, *map(ctypes.byref, (data, cycles, last)))
        if n == 0:
            return Beats(np.zeros((0, width), np.uint8), np.zeros(0, np.uint64), None, blocked, starved)
        return Beats(
            np.ctypeslib.as_array(data, (n, width)).copy(),
            np.ctypeslib.as_array(cycles, (n,)).copy(),
            np.ctypeslib.as_array(last, (n,)).astype(bool) if last else None,
            blocked,
            starved,
        )


def build(
    sources: Sequence[Path],
    top: str,
    work: Path,
    inputs: Sequence[Stream],
    outputs: Sequence[Stream],
    taps: Sequence[Tap] = (),
    parameters: Mapping[str, int | str] | None = None,
    cwd: Path | None = None,
    optimize: str | None = None,
    arguments: Sequence[str] = (),
) -> Simulator:
    """Compile module `top` of `sources` (Verilog, SystemVerilog, .vlt) for simulation.

    work: folder for the libraries, shared by any number of designs. cwd: the folder of the $readmemh files at
    run time (default: that of the first source). parameters: of the top; strings without quotes. optimize:
    the C++ compiler's option for the code that runs each cycle (default: -O1 for a small model, else -O2).
    arguments: more options for Verilator.
    SimulationError with Verilator's first error, or where a stream's declared width is not that of the port.
    """
    paths = tuple(Path(source).resolve() for source in sources)
    options = verilator_options(parameters or {}, arguments)
    module = Module(paths, top, tuple(inputs), tuple(outputs), tuple(taps), options, optimize)
    folder = Path(cwd).resolve() if cwd is not None else paths[0].parent
    return Simulator(module.library(Path(work)), module.inputs, module.outputs, module.taps, folder)


_BYTES = ctypes.POINTER(ctypes.c_uint8)


def _pointers() -> tuple:
    return _BYTES(), ctypes.POINTER(ctypes.c_uint64)(), _BYTES()


def _probability(value: float | Mapping[str, float], prefix: str) -> float:
    p = value if isinstance(value, (int, float)) else value.get(prefix, 1.0)
    if not 0.0 < p <= 1.0:
        raise ValueError(f"probability of {prefix}: {p} is not in (0, 1]")
    return float(p)


def _load(library: Path) -> ctypes.CDLL:
    dll = ctypes.CDLL(str(library))
    handle, u64, text, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_int
    signatures = {
        "psaflow_new": (handle, [u64, text]),
        "psaflow_delete": (None, [handle]),
        "psaflow_limits": (None, [handle, u64, u64]),
        "psaflow_input": (None, [handle, number, _BYTES, _BYTES, u64, u64, ctypes.c_double]),
        "psaflow_output": (None, [handle, number, u64, ctypes.c_double]),
        "psaflow_pause": (None, [handle, number, number, u64, u64]),
        "psaflow_step": (number, [handle, u64]),
        "psaflow_access": (number, [handle, number, ctypes.c_uint32, handle, handle]),
        "psaflow_stalls": (None, [handle, number, number, handle, handle]),
        "psaflow_message": (text, [handle]),
        "psaflow_waits": (text, [handle]),
        "psaflow_cycle": (u64, [handle]),
        "psaflow_sent": (u64, [handle, number, handle]),
        "psaflow_record": (u64, [handle, number, number, handle, handle, handle]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(dll, name)
        function.restype, function.argtypes = result, arguments
    return dll
