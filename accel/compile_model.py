"""Verilator and the C++ compiler: from Verilog sources to the shared library that accel/verilate.py calls."""

import logging
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accel import registers, tools

log = logging.getLogger(__name__)

_HARNESS = Path(__file__).with_name("harness.cc")
_LITE = _HARNESS.with_name("axi_lite.h")
_VERILATOR = (
    *("--cc", "--prefix", "Vtop", "-O3", "--x-assign", "fast", "--x-initial", "unique"),
    *("--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
    *(
        "--output-split",
        "0",
        "--output-split-cfuncs",
        "500",
    ),  # the C++ compiler needs minutes for long functions
)
_CXX = (
    *("-std=c++17", "-fPIC", "-fvisibility=hidden", "-w", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0"),
    *("-DVL_USER_FINISH", "-DVL_USER_STOP", "-DVL_USER_FATAL", "-DVL_USER_WARN"),
)
_SMALL = 300_000  # bytes of generated C++ up to which one compilation of everything is the quickest


class SimulationError(RuntimeError):
    """The design deadlocked, broke AXI-Stream, gave too many beats or could not be elaborated."""


@dataclass(frozen=True)
class Stream:
    """An AXI-Stream port `<prefix>_tdata/_tvalid/_tready[/_tlast]`, tdata `bytes` wide."""

    prefix: str
    bytes: int
    packet: int = 0  # inputs: beats from one tlast to the next; 0: tlast on the last beat of a run only


@dataclass(frozen=True)
class Tap:
    """A stream inside the top, `<signal>_tdata/_tvalid/_tready`, recorded at each of its handshakes."""

    signal: str
    bytes: int


@dataclass(frozen=True)
class Module:
    """What is compiled: module `top` of `sources` and the streams to tie to the harness."""

    sources: tuple[Path, ...]
    top: str
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    taps: tuple[Tap, ...]
    options: tuple[str, ...]  # for Verilator
    optimize: str | None  # for the C++ compiler, of the code that runs each cycle

    def library(self, work: Path) -> Path:
        """The shared library, kept in `work` under the hash of all it is made from. SimulationError."""
        folder = work.resolve() / f"{self.top}-{self._digest()}"
        library = folder / "model.so"
        if not library.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            start = time.perf_counter()
            self._translate(folder)
            (folder / "bind.inc").write_text(self._bind(folder))
            translated = time.perf_counter()
            self._compile(folder).replace(library)
            seconds = (translated - start, time.perf_counter() - translated)
            log.info("%s: verilated in %.1f s, compiled in %.1f s", self.top, *seconds)
        return library

    def _digest(self) -> str:
        texts = [Path(__file__).read_text(), _HARNESS.read_text(), _LITE.read_text(), repr(self)]
        texts += [tools.version("verilator"), tools.version("g++")]
        return tools.digest(*texts, *(path.read_bytes() for path in self.sources))

    def _translate(self, folder: Path) -> None:
        """Verilator, into `folder`; the taps' signals are kept by a configuration file."""
        lines = [
            f'public_flat_rd -module "{_mangled(self.top)}" -var "{_mangled(tap.signal)}_{pin}"\n'
            for tap in self.taps
            for pin in ("tdata", "tvalid", "tready")
        ]
        (folder / "taps.vlt").write_text("`verilator_config\n" + "".join(lines))
        options = [*_VERILATOR, "--top-module", self.top, *self.options]
        try:
            tools.run("verilator", ["--Mdir", ".", *options, "taps.vlt", *self.sources], folder)
        except tools.ToolError as error:
            raise SimulationError(str(error)) from None

    def _compile(self, folder: Path) -> Path:
        """One object for a small model; for a large one, what runs only once is not optimised."""
        generated = sorted(folder.glob("Vtop*.cpp"))
        small = sum(path.stat().st_size for path in generated) < _SMALL
        once = [] if small else [path for path in generated if "Slow" in path.name or "Syms" in path.name]
        each_cycle = [path for path in generated if path not in once] + [_HARNESS]
        level = self.optimize or ("-O1" if small else "-O2")
        objects = [str(_runtime())]
        for name, parts, option in (("once", once, "-O0"), ("cycle", each_cycle, level)):
            if parts:
                (folder / f"{name}.cc").write_text("".join(f'#include "{path}"\n' for path in parts))
                arguments = [*_CXX, option, "-I.", *_includes(), "-c", f"{name}.cc", "-o", f"{name}.o"]
                tools.run("g++", arguments, folder)
                objects.append(f"{name}.o")
        arguments = ["-shared", "-Wl,-Bsymbolic", *objects, "-pthread", "-o", "model.tmp"]
        tools.run("g++", arguments, folder)
        return folder / "model.tmp"

    def _bind(self, folder: Path) -> str:
        """The C++ that ties the harness to the model's variables, after a check of every width."""
        ports = _widths(
            r"VL_(?:IN|OUT)(?:8|16|64|W)?\(&(?P<name>\w+),(?P<msb>\d+),(?P<lsb>\d+)", folder / "Vtop.h"
        )
        inside = _widths(r"/\*(?P<msb>\d+):(?P<lsb>\d+)\*/ (?P<name>\w+);", folder / "Vtop___024root.h")
        if "clk" not in ports:
            raise SimulationError(f"{self.top}: no port clk")
        lines = ['#include "Vtop.h"', '#include "Vtop___024root.h"', "using Model = Vtop;"]
        lines += ["void bind(Vtop& m, Streams& s) {", "  auto& r = *m.rootp;", "  static_cast<void>(r);"]
        lines += [f"  s.{pin} = &m.{pin};" for pin in ("clk", "rst_n") if pin in ports]
        for kind, streams in (("inputs", self.inputs), ("outputs", self.outputs)):
            for stream in streams:
                self._check(stream.prefix, stream.bytes, ports, _mangled(stream.prefix), "port")
                lines.append(_pins(kind, stream.prefix, stream.bytes, f"m.{_mangled(stream.prefix)}", ports))
        if f"{registers.PREFIX}_awvalid" in ports:
            names = [pin for pin in registers.PORTS if not pin.endswith("prot")]
            lines += [f"  s.lite.{pin} = &m.{registers.PREFIX}_{pin};" for pin in names]
        for tap in self.taps:
            variable = f"{_mangled(self.top)}__DOT__{_mangled(tap.signal)}"
            self._check(tap.signal, tap.bytes, inside, variable, "signal")
            lines.append(_pins("taps", tap.signal, tap.bytes, f"r.{variable}", {}))
        return "\n".join([*lines, "}"]) + "\n"

    def _check(self, name: str, width: int, known: Mapping[str, int], variable: str, what: str) -> None:
        for pin, wanted in (("tdata", 8 * width), ("tvalid", 1), ("tready", 1)):
            bits = known.get(f"{variable}_{pin}")
            if bits is None:
                raise SimulationError(f"{self.top}: no {what} {name}_{pin}")
            if bits != wanted:
                raise SimulationError(
                    f"{self.top}: {name}_{pin} has {bits} bits, the stream was declared with {wanted}"
                )


def verilator_options(parameters: Mapping[str, int | str], arguments: Sequence[str]) -> tuple[str, ...]:
    """Verilator's options for the top's `parameters` (strings without quotes) and further `arguments`."""
    texts = {name: f'"{v}"' if isinstance(v, str) else str(int(v)) for name, v in parameters.items()}
    return (*(f"-G{name}={texts[name]}" for name in sorted(texts)), *arguments)


def _widths(pattern: str, header: Path) -> dict[str, int]:
    found = re.finditer(pattern, header.read_text())
    return {match["name"]: int(match["msb"]) - int(match["lsb"]) + 1 for match in found}


def _pins(kind: str, name: str, width: int, variable: str, ports: Mapping[str, int]) -> str:
    last = f"&{variable}_tlast" if f"{variable.removeprefix('m.')}_tlast" in ports else "nullptr"
    data = f"reinterpret_cast<uint8_t*>(&{variable}_tdata)"
    fields = f'"{name}", {width}, {data}, &{variable}_tvalid, &{variable}_tready, {last}'
    return f"  s.{kind}.push_back({{{fields}}});"


def _mangled(name: str) -> str:
    """Verilator's spelling of a Verilog name."""
    return name.replace("__", "___05F")


def _include_root() -> Path:
    return Path(tools.run("verilator", ["--getenv", "VERILATOR_ROOT"], Path.cwd()).strip()) / "include"


def _includes() -> list[str]:
    root = _include_root()
    return [f"-I{root}", f"-I{root / 'vltstd'}"]


def _runtime() -> Path:
    """Verilator's run-time library as one object file, compiled once for this version."""
    key = tools.digest(*_CXX, *_includes(), tools.version("verilator"), tools.version("g++"))
    path = tools.cache_folder() / f"verilated-{key}.o"
    if not path.exists():
        unfinished = path.with_suffix(f".{time.time_ns()}.o")
        source = unfinished.with_suffix(".cc")
        parts = [_include_root() / "verilated.cpp", _include_root() / "verilated_threads.cpp"]
        source.write_text("".join(f'#include "{part}"\n' for part in parts))
        arguments = [*_CXX, "-Os", *_includes(), "-c", str(source), "-o", str(unfinished)]
        tools.run("g++", arguments, path.parent)
        source.unlink()
        unfinished.replace(path)
    return path
