"""Yosys: every module of a design alone, cached; for ECP5 then one stitched netlist of mapped cells.

A flat design of ten layers keeps the technology mapper busy for many minutes; ten layers one by one take
seconds each, on every core, and a layer that did not change is not mapped again.
"""

import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from accel import tools

log = logging.getLogger(__name__)

CELLS = Path(__file__).with_name("ecp5_cells.v")  # our models of what Yosys has only as black boxes
_SYNTH = """\
read_verilog -sv {sources}
{synth} -top psaflow_layer
tee -q -o stat.json stat -json
select psaflow_layer
write_rtlil -selected module.il
"""
_STITCH = """\
read_verilog -lib +/ecp5/cells_sim.v +/ecp5/cells_bb.v
{modules}
read_verilog -sv {top}.sv
hierarchy -check -top {top}
proc
flatten
delete t:$scopeinfo
opt_clean -purge
blackbox =A:whitebox
tee -q -o stat.json stat -json
{write}
"""

Progress = Callable[[str, float], None]  # (stage, its seconds)


class SynthesisError(RuntimeError):
    """The design does not fit, misses its clock or is not what the tools take; one line for the user."""


@dataclass(frozen=True)
class Cells:
    """Mapped cells of a module, in ECP5's terms and in AMD's."""

    lut: int  # LUT4, with 2 for each CCU2C of a carry chain and 6 for each TRELLIS_DPR16X4 of distributed RAM; or LUT6
    ff: int
    dsp: int  # MULT18X18D or DSP48E2
    bram: int  # of 18 kbit: DP16KD or RAMB18


@dataclass(frozen=True)
class Flow:
    """How Yosys maps for a family and how its cells are counted."""

    name: str
    synth: str  # the command
    count: Callable[[Mapping[str, int]], Cells]  # {cell type: how many} -> figures


def _ecp5_cells(counts: Mapping[str, int]) -> Cells:
    get = counts.get
    return Cells(
        lut=get("LUT4", 0) + 2 * get("CCU2C", 0) + 6 * get("TRELLIS_DPR16X4", 0),
        ff=get("TRELLIS_FF", 0),
        dsp=get("MULT18X18D", 0),
        bram=get("DP16KD", 0) + get("PDPW16KD", 0),
    )


ECP5 = Flow("ecp5", "synth_ecp5", _ecp5_cells)


def read_design(rtl: Path, *parts: str) -> dict:
    """`rtl`/design.json; SynthesisError where there is none, or none with a top, modules and the given `parts`."""
    path = Path(rtl) / "design.json"
    if not path.is_file():
        raise SynthesisError(f"{path}: not found; emit the design first")
    try:
        design = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        design = None
    if not isinstance(design, dict) or not {"top", "modules", *parts} <= design.keys():
        raise SynthesisError(f"{path}: damaged; emit the design again")
    return design


def synthesise(
    rtl: Path,
    cache: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
    flow: Flow = ECP5,
) -> dict[str, tuple[Path, Cells]]:
    """Map every module of the design in `rtl`: {name: (RTLIL file of a module `psaflow_layer`, its cells)}.

    cache: where results live, under the hash of sources, memories, script and Yosys version (default: the
    user's cache folder). Modules that differ only in their name are mapped once. processes: modules mapped at
    the same time (default: one for each core).
    """
    cache = (Path(cache) if cache is not None else tools.cache_folder() / flow.name).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    layers = {module["name"]: _Layer(Path(rtl), module, flow) for module in read_design(rtl)["modules"]}
    with ThreadPoolExecutor(processes or os.cpu_count()) as pool:
        different = {layer.key: layer for layer in layers.values()}
        jobs = {key: pool.submit(layer.synthesise, cache / key, progress) for key, layer in different.items()}
        try:
            results = {name: jobs[layer.key].result() for name, layer in layers.items()}
        except SynthesisError:
            pool.shutdown(cancel_futures=True)
            raise
    return {name: (path / "module.il", flow.count(_counts(path / "stat.json"))) for name, path in results.items()}


def total(rtl: Path, flow: Flow = ECP5, cache: Path | None = None, processes: int | None = None) -> Cells:
    """Mapped cells of the design in `rtl`, as the sum of its modules."""
    made = [cells for _, cells in synthesise(rtl, cache, processes, flow=flow).values()]
    return Cells(*(sum(getattr(cells, figure) for cells in made) for figure in ("lut", "ff", "dsp", "bram")))


def stitch(
    rtl: Path, folder: Path, modules: Mapping[str, Path], write: str = "write_json netlist.json"
) -> Cells:
    """Join the mapped `modules` {name: RTLIL file} as the top of the design in `rtl` says, flat.

    write: the Yosys command that writes the result, into `folder`. Returns the cells of the whole.
    """
    top = read_design(rtl)["top"]
    shutil.copy(Path(rtl) / f"{top}.sv", folder)
    reads = []
    for name, path in modules.items():
        shutil.copy(path, folder / f"{name}.il")
        reads.append(f"read_rtlil {name}.il\nrename psaflow_layer {name}")
    _yosys(folder, "stitch", _STITCH.format(top=top, modules="\n".join(reads), write=write))
    for name in modules:
        (folder / f"{name}.il").unlink()
    (folder / f"{top}.sv").unlink()
    unmapped = sorted(kind for kind in _counts(folder / "stat.json") if kind.startswith("$"))
    if unmapped:
        raise SynthesisError(f"{top}: holds logic ({', '.join(unmapped)}); a top only wires modules")
    return ECP5.count(_counts(folder / "stat.json"))


def netlist(rtl: Path, target: Path, cache: Path | None = None, processes: int | None = None) -> list[Path]:
    """Write the stitched netlist of mapped cells to the Verilog file `target`, for simulation.

    Returns the sources that simulate it: `target` and the cell models. Top and ports are the design's.
    """
    modules = {name: path for name, (path, _) in synthesise(rtl, cache, processes).items()}
    target = Path(target).resolve()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        stitch(rtl, Path(temporary), modules, "write_verilog -noattr netlist.v")
        (Path(temporary) / "netlist.v").replace(target)
    return [target, *cell_models()]


def cell_models() -> list[Path]:
    """Models of the ECP5 cells: ours first (the first definition of a module counts), then Yosys's."""
    return [CELLS, tools.yosys_share() / "ecp5" / "cells_sim.v"]


def cell_arguments() -> Sequence[str]:
    """Verilator's options for these models."""
    return (f"+incdir+{tools.yosys_share() / 'ecp5'}", "-Wno-MODDUP", "-DNO_INCLUDES")


class _Layer:
    """One module of a design, its wrapper renamed `psaflow_layer`, and the key of its mapped result."""

    def __init__(self, rtl: Path, module: Mapping, flow: Flow) -> None:
        self.name, self._synth = module["name"], flow.synth
        self._sources = [f"{self.name}.sv", *(s for s in module["sources"] if s != f"{self.name}.sv")]
        self._files = {name: (rtl / name).read_bytes() for name in (*self._sources, *module["memories"])}
        wrapper = self._files[self._sources[0]].decode()
        self._files[self._sources[0]] = re.sub(
            rf"\bmodule\s+{self.name}\b", "module psaflow_layer", wrapper
        ).encode()
        contents = [part for name in list(self._files)[1:] for part in (name, self._files[name])]
        script = _SYNTH.format(sources="", synth=flow.synth)
        self.key = tools.digest(script, tools.version("yosys"), self._files[self._sources[0]], *contents)

    def synthesise(self, result: Path, progress: Progress | None) -> Path:
        """Map the layer into the folder `result`, if it is not there."""
        start = time.perf_counter()
        if not result.exists():
            with tempfile.TemporaryDirectory(dir=result.parent, prefix=f".{self.name}-") as temporary:
                work, done = Path(temporary), Path(temporary) / "done"
                for name, content in self._files.items():
                    (work / name).write_bytes(content)
                _yosys(work, self.name, _SYNTH.format(sources=" ".join(self._sources), synth=self._synth))
                done.mkdir()
                for name in ("module.il", "stat.json", f"{self.name}.log"):
                    (work / name).replace(done / name)
                if not result.exists():  # another process may have been quicker
                    done.rename(result)
        if progress is not None:
            progress(f"synthesise {self.name}", time.perf_counter() - start)
        return result


def _yosys(folder: Path, name: str, script: str) -> None:
    (folder / f"{name}.ys").write_text(script)
    try:
        tools.run("yosys", ["-q", "-l", f"{name}.log", f"{name}.ys"], folder, folder / f"{name}.log")
    except tools.ToolError as error:
        raise SynthesisError(f"{name}: {error}") from None


def _counts(stat: Path) -> dict[str, int]:
    design = json.loads(_json_part(stat.read_text()))["design"]
    return design["num_cells_by_type"]


def _json_part(text: str) -> str:
    return text[text.index("{") : text.rindex("}") + 1]
