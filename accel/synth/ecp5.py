"""Bitstream for a Lattice ECP5 with open tools: Yosys, nextpnr-ecp5, ecppack."""

import contextlib
import dataclasses
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from accel import tools
from accel.synth.netlist import Cells, Progress, SynthesisError, read_design, stitch, synthesise
from custom_ops.devices import DeviceError, devices
from custom_ops.devices import device as find_device

__all__ = ["Figures", "SynthesisError", "Usage", "bitstream", "check_bitstream", "check_target"]

log = logging.getLogger(__name__)


_RESOURCES = {  # figure -> (nextpnr's name, how an error calls it)
    "lut4": ("TRELLIS_COMB", "LUT4"),
    "ff": ("TRELLIS_FF", "flip-flops"),
    "lutram": ("TRELLIS_RAMW", "distributed RAM blocks"),
    "dsp": ("MULT18X18D", "MULT18X18D"),
    "bram": ("DP16KD", "DP16KD"),
    "io": ("TRELLIS_IO", "pins"),
}


@dataclass(frozen=True)
class Usage:
    """Of one resource: what the design takes and what the device has."""

    used: int
    available: int


@dataclass(frozen=True)
class Figures:
    """What the tools reported of one bitstream. LUT4 includes carry chains and distributed RAM."""

    device: str
    package: str
    speed: int
    seed: int
    mhz: float  # asked for
    fmax_mhz: float  # reached, of the slowest clock, after routing
    lut4: Usage
    ff: Usage
    lutram: Usage
    dsp: Usage
    bram: Usage
    io: Usage
    critical_path: tuple[str, ...]  # cells of the slowest register-to-register path
    modules: dict[str, Cells]  # mapped cells of each module before stitching
    seconds: dict[str, float] = field(default_factory=dict)  # wall clock of each stage
    tools: dict[str, str] = field(default_factory=dict)  # versions


def bitstream(
    rtl: Path,
    out: Path,
    device: str = "LFE5U-85F",
    package: str = "CABGA381",
    speed: int = 6,
    mhz: float = 80.0,
    seed: int = 1,
    cache: Path | None = None,
    processes: int | None = None,
    verify: bool = True,
    options: Sequence[str] = (),
    progress: Progress | None = None,
) -> Figures:
    """Make `out`/psaflow.bit of the design in the folder `rtl`, with pins of nextpnr's choice.

    `out` also gets psaflow.config, netlist.json, report.json (nextpnr's), figures.json and the logs; it
    appears, or replaces an older one, only when all of it is there. After a failure the logs and the report
    lie in `out`-failed. speed: grade 6 (slowest) to 8. mhz: the clock to reach. options: more of nextpnr's.
    SynthesisError where a tool fails, the device is too small or the clock is missed.
    """
    option = check_target(device, verify=verify)
    out = Path(out)
    top = read_design(rtl)["top"]
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    failed = out.with_name(f"{out.name}-failed")
    stages = _Stages(progress)
    flags = [option, "--package", package, "--speed", str(speed), "--seed", str(seed)]
    flags += ["--freq", str(mhz), "--lpf-allow-unconstrained", "--timing-allow-fail", *options]
    try:
        with stages.stage("synthesise"):
            mapped = synthesise(rtl, cache, processes, progress)
        with stages.stage("stitch"):
            stitch(rtl, work, {name: path for name, (path, _) in mapped.items()})
        report = _place_and_route(work, device, flags, stages)
        fmax, path = _slowest(report)
        if fmax < mhz:
            raise SynthesisError(
                f"{top} on {device}: reaches {fmax:.1f} MHz, {mhz:g} MHz asked (slowest path: {path[0]} "
                f"to {path[-1]}); ask less or try another seed; report: {failed / 'report.json'}"
            )
        with stages.stage("bitstream"):
            _tool("ecppack", ["psaflow.config", "psaflow.bit"], work)
        if verify:
            with stages.stage("verify"):
                check_bitstream(work / "psaflow.bit", work / "psaflow.config")
        figures = Figures(
            device=device,
            package=package,
            speed=speed,
            seed=seed,
            mhz=mhz,
            fmax_mhz=round(fmax, 2),
            **_usage(report["utilization"]),
            critical_path=tuple(path),
            modules={name: cells for name, (_, cells) in mapped.items()},
            seconds=stages.seconds,
            tools={name: tools.version(name) for name in ("yosys", "nextpnr-ecp5", "ecppack")},
        )
        (work / "figures.json").write_text(json.dumps(dataclasses.asdict(figures), indent=2) + "\n")
    except (SynthesisError, tools.ToolError):
        _replace(work, failed)
        raise
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    _replace(work, out)
    shutil.rmtree(failed, ignore_errors=True)
    return figures


def check_target(device: str, *, verify: bool = True) -> str:
    """nextpnr's option for the device; SynthesisError or ToolError, before any work, where it has none or a tool is missing."""
    try:
        option = find_device(device).option
    except DeviceError as error:
        raise SynthesisError(str(error)) from None
    if option is None:
        placed = ", ".join(name for name, known in devices().items() if known.placeable)
        raise SynthesisError(f"device {device}: for estimates only; a bitstream is made for {placed}")
    for tool in ("yosys", "nextpnr-ecp5", "ecppack", *(["ecpunpack"] if verify else [])):
        tools.find(tool)
    return option


def check_bitstream(bit: Path, config: Path) -> None:
    """Unpack `bit`: it must hold the device and the memories of `config`, and pack to the same bytes again.

    Other settings are not compared by name: the unpacker has several names for the same bits.
    SynthesisError at the first difference.
    """
    with tempfile.TemporaryDirectory(dir=bit.parent, prefix=".unpack-") as temporary:
        folder = Path(temporary)
        shutil.copy(bit, folder / "packed.bit")
        _tool("ecpunpack", ["packed.bit", "unpacked.config"], folder)
        unpacked, asked = (_contents(path) for path in (folder / "unpacked.config", config))
        for name in asked:
            if asked[name] != unpacked.get(name):
                raise SynthesisError(f"{bit.name}: {name} is not that of {config.name}")
        _tool("ecppack", ["unpacked.config", "again.bit"], folder)
        if (folder / "again.bit").read_bytes() != bit.read_bytes():
            raise SynthesisError(f"{bit.name}: unpacked and packed again, it is another bitstream")


def _contents(config: Path) -> dict[str, list[str]]:
    """The device and the block RAMs of a .config: {section's first line: its rows}."""
    contents: dict[str, list[str]] = {}
    rows: list[str] = []
    for line in config.read_text().splitlines():
        if line.startswith("."):
            rows = []
            if line.startswith((".device", ".bram_init")):
                contents[line.strip()] = rows
        elif line.strip():
            rows.append(line.strip())
    return contents


class _Stages:
    """Runs stages in order, keeps their seconds and tells `progress`."""

    def __init__(self, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        log.info("%s: %.1f s", name, self.seconds[name])
        if self._progress is not None:
            self._progress(name, self.seconds[name])


def _tool(tool: str, arguments: Sequence[str], folder: Path, log_name: str | None = None) -> None:
    try:
        tools.run(
            tool, [str(argument) for argument in arguments], folder, folder / (log_name or f"{tool}.log")
        )
    except tools.ToolError as error:
        raise SynthesisError(str(error)) from None


def _nextpnr(folder: Path, name: str, flags: Sequence[str]) -> dict:
    """Run nextpnr on netlist.json; its log is `name`.log, its report, which is returned, `name`.json."""
    arguments = ["-q", "-l", f"{name}.log", "--json", "netlist.json", "--report", f"{name}.json", *flags]
    _tool("nextpnr-ecp5", arguments, folder, f"{name}.log")
    return json.loads((folder / f"{name}.json").read_text())


def _place_and_route(work: Path, device: str, flags: Sequence[str], stages: _Stages) -> Mapping[str, Mapping]:
    """nextpnr's report, with psaflow.config written; SynthesisError early if the device is too small."""
    with stages.stage("pack"):
        _check_fit(device, _nextpnr(work, "pack", [*flags, "--pack-only"])["utilization"])
    with stages.stage("place and route"):
        return _nextpnr(work, "report", [*flags, "--textcfg", "psaflow.config"])


def _usage(utilization: Mapping[str, Mapping[str, int]]) -> dict[str, Usage]:
    return {
        figure: Usage(utilization[name]["used"], utilization[name]["available"])
        for figure, (name, _) in _RESOURCES.items()
    }


def _check_fit(device: str, utilization: Mapping[str, Mapping[str, int]]) -> None:
    usage = _usage(utilization)
    lacking = [name for name, use in usage.items() if use.used > use.available]
    if not lacking:
        return
    needs = ", ".join(
        f"{usage[name].used} {_RESOURCES[name][1]}, has {usage[name].available}" for name in lacking
    )
    family = device.partition("-")[0]
    small = find_device(device)
    larger = [
        name
        for name, size in devices().items()
        if name.startswith(f"{family}-")
        and size.lut > max(small.lut, usage["lut4"].used - 1)
        and size.dsp >= usage["dsp"].used
        and size.bram >= usage["bram"].used
    ]
    advice = [] if "io" in lacking else [*larger[:1], "a smaller folding (lower PE, SIMD)"]
    raise SynthesisError(f"{device}: needs {needs}; choose {' or '.join(advice) or 'a larger package'}")


def _slowest(report: Mapping) -> tuple[float, list[str]]:
    """MHz of the slowest clock and its slowest path: each `cell.port` that drives a wire, then the end."""
    fmax = min((clock["achieved"] for clock in report["fmax"].values()), default=0.0)
    for path in report["critical_paths"]:
        if path["from"] == path["to"] and path["from"].startswith("posedge"):
            steps = path["path"]
            ends = [step["from"] for step in steps if step["type"] == "routing"] + [steps[-1]["to"]]
            return fmax, [f"{end['cell']}.{end['port']}" for end in ends]
    return fmax, ["unknown"]


def _replace(new: Path, old: Path) -> None:
    """Put the folder `new` where `old` is or may be."""
    aside = old.with_name(f".{old.name}-old")
    shutil.rmtree(aside, ignore_errors=True)
    if old.exists():
        old.rename(aside)
    new.chmod(0o755)  # a temporary folder is its owner's alone
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)
