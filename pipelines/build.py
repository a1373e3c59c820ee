"""psaflow build: the whole road, from a checkpoint or an .onnx to a bitstream, every stage checked and reported."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from onnx import ModelProto

from pipelines.config import BuildConfig, load_config
from pipelines.console import UserError, command, progress
from pipelines.evaluate import open_onnx, predict
from pipelines.images import TestImages, inputs_for, takes_pixels, test_images
from pipelines.report import REPORT, headline, write_report

if TYPE_CHECKING:
    from pipelines.compression import Calibration

log = logging.getLogger(__name__)
STAGES = ("exported", "tidy", "streamlined", "integer", "dataflow", "rtl", "simulation", "bitstream")
MARKER = ".psaflow-build"  # file that says: this folder is ours to replace
FAILED = "failed.json"  # the report of a build that ended in an error
FLOAT_STAGES = ("exported", "tidy", "streamlined")  # no scale is rounded in them
RUNTIME = "runtime"  # the integer stage once more, its layers fused for onnxruntime
EXACT = "exact"  # the integer stage before its tables were compressed, where the configuration asks for that
FILES = {stage: f"{number}_{stage}.onnx" for number, stage in enumerate(STAGES[:5])} | {RUNTIME: f"{RUNTIME}.onnx"}
ALL_FILES = FILES | {EXACT: f"3_{EXACT}.onnx"}


def show(report: dict[str, Any]) -> None:
    """The readable report's first lines."""
    click.echo(headline(report))


@click.command("build")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to build; an earlier build there is replaced.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="YAML, or the name of a shipped one [ecp5_85f].")
@click.option("--until", type=click.Choice(STAGES[1:]), default=STAGES[-1], help="Last stage to do.")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz of inputs of a model that takes no pixels: x, and y for top-1.")
@functools.partial(command, plain=show)
def main(source: Path, out: Path, config_path: Path | None, until: str, inputs: Path | None, data: Path | None) -> dict[str, Any]:
    """Build SOURCE (a checkpoint, or an .onnx) into a folder: graphs, RTL, simulation, bitstream.

    An .onnx may be one of ours, or another tool's quantized network (QONNX Quant, QCDQ, onnxruntime's QDQ) down to its integer graph.
    """
    from custom_ops.devices import device

    config = load_config(config_path)
    device(config.device)  # refuses an unknown one before any work
    with finished_folder(out, source) as folder:
        found = _calibration(config, until, data)
        if source.suffix == ".onnx":
            from custom_ops.load import read_model

            model = read_model(source)
            return Build(source, folder, config, inputs_for(source, model, data, inputs, config.seed), model, found).run(until)
        if inputs is not None:
            raise UserError(f"{source}: a checkpoint takes pixels; --inputs is for an .onnx")
        return Build(source, folder, config, test_images(data, config.seed), calibration=found).run(until)


@contextlib.contextmanager
def finished_folder(out: Path, source: Path) -> Iterator[Path]:
    """A working folder beside `out` that takes its place only when the block succeeds; an error says where it lies.

    Only folders that hold our marker, or nothing, are ever replaced.
    """
    out = out.resolve()
    partial, old = (out.with_name(out.name + ending) for ending in (".partial", ".old"))
    for folder in (out, partial, old):
        if folder.exists() and not (folder / MARKER).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: exists and is no earlier build (it has no {MARKER}); name another folder with --out")
        if Path.cwd().is_relative_to(folder) or source.resolve().is_relative_to(folder):
            raise UserError(f"{folder}: holds the model or the current folder, and would be replaced; name another folder with --out")
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / MARKER).write_text("A folder that psaflow made and may replace.\n")
    try:
        yield partial
    except BaseException:
        if [p.name for p in partial.iterdir()] == [MARKER]:
            shutil.rmtree(partial)
        else:
            log.warning("what was built before the error is in %s", partial)
        raise
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


class Build:
    """One build in progress; `report` grows stage by stage."""

    def __init__(self, source: Path, folder: Path, config: BuildConfig, images: TestImages, model: ModelProto | None = None,
                 calibration: Calibration | None = None) -> None:  # fmt: skip
        self.source, self.folder, self.config, self.images, self.model = source, folder, config, images, model
        self.calibration = calibration
        self.report: dict[str, Any] = {
            "source": source.name, "config": config.model_dump(), "test_images": len(images.images) if images.real else 0,
            "passes": [], "ops": {}, "tables": None, "accuracy": {}, "agreement": {}, "boundary_entries": None, "requantization": None,
            "folding": None,
            "schedule": None, "simulation": None, "cycles_per_image": None,
            "latency_cycles": None, "resources": None, "modules": None, "fmax_mhz": None, "images_per_second": None, "seconds": {},
        }  # fmt: skip

    def run(self, until: str) -> dict[str, Any]:
        """All stages up to `until`; returns the report, which is also written."""
        try:
            self._run(STAGES.index(until))
        except Exception as error:
            self.report["error"] = str(error)
            if self.report["passes"]:
                (self.folder / FAILED).write_text(json.dumps(self.report, indent=2) + "\n")
            raise
        write_report(self.report, self.folder)
        return self.report

    def _run(self, last: int) -> None:
        if last == len(STAGES) - 1:
            from accel.synth.ecp5 import check_target

            check_target(self.config.device)
        with self._stage("exported"):
            model = self._exported()
            self._save("exported", model)
        self._graphs(model, STAGES[1 : min(last, 4) + 1])
        with self._stage("accuracy"):
            self._accuracy([s for s in FILES if (self.folder / FILES[s]).exists()])
        for number, step in ((5, self._rtl), (6, self._simulation), (7, self._bitstream)):
            if last >= number:
                with self._stage(STAGES[number]):
                    step()

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        log.info("%s ...", name)
        yield
        self.report["seconds"][name] = round(time.perf_counter() - started, 2)
        log.info("%s: %.1f s", name, self.report["seconds"][name])

    def _exported(self) -> ModelProto:
        if self.model is not None:
            return self.model
        from train.export import export_onnx
        from train.run import load_quantized

        self.network, content = load_quantized(self.source)
        self.report["checkpoint_metrics"] = content.get("metrics", {})
        return export_onnx(self.network)

    def _save(self, stage: str, model: ModelProto) -> None:
        import onnx

        onnx.checker.check_model(model)
        onnx.save(model, self.folder / ALL_FILES[stage])
        self.report["ops"][stage] = dict(sorted(Counter(node.op_type for node in model.graph.node).items()))

    def _graphs(self, model: ModelProto, stages: tuple[str, ...]) -> None:
        from passes import INTEGER, STREAMLINE, TIDY, dataflow
        from passes import RUNTIME as FUSING
        from passes.check import CheckedPasses
        from passes.fold_to_target import folding_report
        from passes.function_to_lut import BOUNDARY_ENTRIES
        from passes.graph import get_metadata
        from passes.scaling import errors_of
        from passes.schedule import foretold

        c = self.config
        passes = {"tidy": TIDY, "streamlined": STREAMLINE, "integer": INTEGER,
                  "dataflow": dataflow(c.target_cycles, c.node_folding(), c.device, c.margin)}  # fmt: skip
        with progress(sum(len(passes[s]) for s in stages), "passes", "pass") as bar:

            def tell(name: str) -> None:
                bar.set_postfix_str(name)
                bar.update()

            images = self.images.images[: self.config.check_images]
            checked, fused, records = CheckedPasses(model, images, tell=tell), None, []
            try:
                for stage in stages:
                    with self._stage(stage):
                        self._save(stage, checked.run(stage, passes[stage]))
                    if stage == "integer" and self.config.tables is not None:
                        records += checked.records
                        checked = CheckedPasses(self._compressed(checked.wrapper.model), images, tell=tell)
                    if stage == "integer":
                        fused = CheckedPasses(checked.wrapper.model, images)
                        with self._stage(RUNTIME):
                            self._save(RUNTIME, fused.run(RUNTIME, FUSING))
            finally:
                records += [*checked.records, *(fused.records if fused else [])]
                self.report["passes"] = [asdict(record) for record in records]
        if stages[-1:] == ("dataflow",):
            self.report["schedule"] = foretold(checked.wrapper, guard=self.config.registers)
        self.report["folding"] = folding_report(checked.wrapper.model)
        entries = get_metadata(checked.wrapper.model, BOUNDARY_ENTRIES)
        self.report["boundary_entries"] = None if entries is None else int(entries)
        errors = errors_of(checked.wrapper.model)
        if errors:
            output = checked.wrapper.graph.output[0].name
            self.report["requantization"] = {
                "tensors": len(errors), "rounded": sum(r.rounded for r in checked.records),
                "worst": max((ours for tensor, (ours, _) in errors.items() if tensor != output), default=0.0),
                "bounds": {tensor: {"multiplier": ours, "float32": floats} for tensor, (ours, floats) in errors.items()},
            }  # fmt: skip

    def _compressed(self, exact: ModelProto) -> ModelProto:
        """The integer stage with smaller tables, which is what goes on; the exact one is kept beside it."""
        from passes.table_errors import table_errors
        from pipelines.compression import smaller

        assert self.config.tables is not None
        with self._stage("tables"):
            made = smaller(exact, self.config.tables, self.calibration)
        self._save(EXACT, exact)
        self._save("integer", made.model)
        self.report["tables"] = [asdict(row) for row in table_errors(made.full, made.model, made.counts)]
        return made.model

    def _accuracy(self, stages: list[str]) -> None:
        """Top-1 of every stage, and how far the first one's logits (Brevitas, where there is a checkpoint) agree with each."""
        from passes.check import logits_scale

        images, labels = self.images.images, self.images.labels
        pixels = self.model is None or takes_pixels(self.source, self.model)
        runs: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
        if self.source.suffix != ".onnx":
            from train.loop import predict as torch_predict

            runs["checkpoint"] = lambda x: torch_predict(self.network, x, progress=False).numpy()
        if (self.folder / ALL_FILES[EXACT]).exists():
            stages = [*stages[: stages.index("integer")], EXACT, *stages[stages.index("integer") :]]
        for stage in stages:
            runs[stage] = open_onnx(self.folder / ALL_FILES[stage], kernels=stage == RUNTIME, pixels=pixels).run
        reference: np.ndarray | None = None
        integer: np.ndarray | None = None
        for stage, run in runs.items():
            log.info("accuracy of %s on %d images ...", stage, len(images))
            scale = 1.0 if stage == "checkpoint" else logits_scale(self.folder / ALL_FILES[stage])
            logits = predict(run, images).astype(np.float64) * scale
            reference = logits if reference is None else reference
            integer = logits if stage == "integer" else integer
            self.report["accuracy"][stage] = None if labels is None else 100.0 * float((logits.argmax(1) == labels).mean())
            self.report["agreement"][stage] = {
                "images": len(images), "different_predictions": int((logits.argmax(1) != reference.argmax(1)).sum()),
                "different_logits": int((logits != reference).sum()),
            }  # fmt: skip
            if stage == "integer" and EXACT in stages:
                reference = logits  # what smaller tables lose is reported; from here on all is exact again
            else:
                self._require_agreement(stage)
            if stage == RUNTIME and integer is not None and (logits != integer).any():
                raise UserError(f"{FILES[RUNTIME]}: {int((logits != integer).sum())} logits by the kernels differ from those of "
                                f"{FILES['integer']} on {len(images)} images")  # fmt: skip

    def _require_agreement(self, stage: str) -> None:
        """Refuses a stage whose logits differ from the first's, with no table entry on a boundary and no rounded scale to explain it.

        A rounded scale was checked layer by layer, by the passes; the stages behind it have its logits.
        """
        differ = self.report["agreement"][stage]
        allowed = bool(self.report["boundary_entries"]) and not differ["different_predictions"]
        allowed = allowed or (self.report["requantization"] is not None and stage not in FLOAT_STAGES)
        if differ["different_logits"] and not allowed:
            first = "integer" if EXACT in self.report["agreement"] and stage != EXACT else next(iter(self.report["agreement"]))
            raise UserError(f"{stage}: {differ['different_logits']} logits and {differ['different_predictions']} classes differ from those "
                            f"of the {first} on {differ['images']} images")  # fmt: skip

    def _rtl(self) -> None:
        import onnx

        from accel.emit import emit

        emit(onnx.load(self.folder / FILES["dataflow"]), self.folder / "rtl", self.config.registers, self.config.stall_counters)

    def _simulation(self) -> None:
        from pipelines.simulate import simulate_images

        result = simulate_images(self.folder, self.images.images[: self.config.simulate_images], stalls=self.config.stalls,
                                 seed=self.config.seed)  # fmt: skip
        unstalled = simulate_images(self.folder, self.images.images[: max(3, self.config.simulate_images)], stalls=0.0,
                                    seed=self.config.seed, taps=False)  # fmt: skip
        self.report["simulation"] = {"stalled": result, "unstalled": unstalled}
        for run in (result, unstalled):
            if run["mismatches"]:
                raise UserError(f"simulation: {run['mismatches']} values differ from {FILES['integer']}; first: {run['first_wrong']}")
        self.report["cycles_per_image"] = unstalled["cycles_per_image"]
        self.report["latency_cycles"] = unstalled["latency_cycles"]

    def _bitstream(self) -> None:
        from accel.synth.ecp5 import bitstream

        c = self.config
        with progress(None, "bitstream", "step") as bar:

            def tell(name: str, seconds: float) -> None:
                bar.set_postfix_str(f"{name} {seconds:.0f} s")
                bar.update()

            figures = bitstream(self.folder / "rtl", self.folder / "synth", device=c.device, package=c.package, speed=c.speed,
                                mhz=c.mhz, seed=c.seed, progress=tell)  # fmt: skip
        self.report["resources"] = {name: asdict(getattr(figures, name)) for name in ("lut4", "ff", "lutram", "dsp", "bram", "io")}
        self.report["modules"] = {name: asdict(cells) for name, cells in figures.modules.items()}
        self.report["fmax_mhz"] = figures.fmax_mhz
        self.report["tools"] = figures.tools
        self.report["seconds"] |= {f"bitstream: {name}": seconds for name, seconds in figures.seconds.items()}
        if self.report["cycles_per_image"]:
            self.report["images_per_second"] = round(figures.fmax_mhz * 1e6 / self.report["cycles_per_image"], 1)


def _calibration(config: BuildConfig, until: str, data: Path | None) -> Calibration | None:
    """The training images that the build's smaller tables need."""
    if config.tables is None or STAGES.index(until) < STAGES.index("integer"):
        return None
    from pipelines.compression import calibration

    return calibration(data, config.tables)


def read_report(folder: Path) -> dict[str, Any]:
    """report.json of a finished build; UserError where `folder` is none."""
    try:
        return json.loads((folder / REPORT).read_text())
    except FileNotFoundError:
        raise UserError(f"{folder}: no finished build (it has no {REPORT}); make one with `psaflow build`") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{folder / REPORT}: not readable; build the folder again") from None


if __name__ == "__main__":
    main()
