"""psaflow bench rtl: cycles, resources and clock of the accelerator in several foldings, beside a ReLU network of twice the width.

Cycles are simulated, images back to back. UltraScale+ resources are yosys's, summed over the modules; an ECP5 is placed and routed.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.config import load_config
from pipelines.console import UserError, columns, command
from pipelines.serving import CHECK_IMAGES, SEED, integer_model

if TYPE_CHECKING:  # imported where they are used, so that --help is quick
    from onnx import ModelProto

log = logging.getLogger(__name__)
DEFAULT = Path("checkpoints/lerp_psa_h96.pt")
XCUP = "xcu50"
DSP_LUTS = 100  # LUTs that the article's sum counts for a DSP
RELU_HIDDEN = 192
CALIBRATION = 256  # random images that the untrained network's quantizers see


@dataclass(frozen=True)
class Row:
    """One accelerator: which network, how it is folded, for which device."""

    name: str
    network: str  # psa or relu
    target: int | None = None  # cycles per image
    article: bool = False  # the article's folding: a whole row of inputs at once, one result per cycle
    config: str | None = None  # of pipelines/configs, for an ECP5
    against: str | None = None  # the row that its resources are divided by


ROWS = (
    Row("psa96_6144", "psa", 6144, against="relu192_6144"),
    Row("psa96_3072", "psa", 3072),
    Row("relu192_6144", "relu", 6144),
    Row("psa96_article", "psa", 6144, article=True, against="relu192_article"),
    Row("relu192_article", "relu", 12288, article=True),
    Row("psa96_lfe5u_85f", "psa", config="ecp5_85f"),
    Row("psa96_lfe5u_45f", "psa", config="ecp5_45f"),
)
FIGURES = ("cycles_per_image", "latency_cycles", "lut", "dsp", "bram", "fmax_mhz", "images_per_second")


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    rows = [(r["name"], r["device"], *("" if r[f] is None else f"{r[f]:g}" if f == "fmax_mhz" else f"{r[f]:.0f}" for f in FIGURES))
            for r in result["rows"]]  # fmt: skip
    for line in columns([("name", "device", *FIGURES), *rows], words=(0, 1)):
        click.echo(line)
    for name, ratios in result["ratios"].items():
        click.echo(f"{name}: " + ", ".join(f"{what} {ratio:.3f}" for what, ratio in ratios.items()))


@click.command("rtl")
@click.option("--model", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="A checkpoint, or an integer .onnx.")
@click.option("--row", "chosen", multiple=True, type=click.Choice([row.name for row in ROWS]), help="Only this row; may be repeated.")
@click.option("--images", type=click.IntRange(2), default=8, show_default=True, help="Images through the simulation, back to back.")
@click.option("--simulate/--no-simulate", default=True, help="Cycles from the RTL.")
@click.option("--place/--no-place", default=True, help="Place and route the ECP5 rows (many minutes); else yosys's counts.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench_rtl"), show_default=True, help="Folder of the designs.")
@functools.partial(command, plain=show)
def main(model: Path, chosen: Sequence[str], images: int, simulate: bool, place: bool, out: Path, data: Path | None) -> dict[str, Any]:
    """Cycles per image, latency, resources, clock and images per second of the accelerator; null where not measured."""
    rows = [row for row in ROWS if not chosen or row.name in chosen]
    networks: dict[str, ModelProto] = {}
    measured = {}
    for row in rows:
        if row.network not in networks:
            networks[row.network] = integer_model(model) if row.network == "psa" else relu_network(RELU_HIDDEN)
        log.info("%s ...", row.name)
        measured[row.name] = measure(row, networks[row.network], out / row.name, images if simulate else 0, place, data)
    return {"model": str(model), "images": images, "rows": [*measured.values()], "ratios": ratios(measured)}


def relu_network(hidden: int, **architecture: int) -> ModelProto:
    """The integer graph of an untrained ReLU network, its quantizers calibrated on random images; weights do not change what it costs."""
    import torch

    from passes import INTEGER, STREAMLINE, TIDY
    from passes.check import CheckedPasses
    from pipelines.images import random_inputs
    from train.export import export_onnx
    from train.quantized import calibrate, quantize
    from train.resmlp import Architecture, ResMLP, absorb

    torch.manual_seed(0)
    network = quantize(absorb(ResMLP(Architecture(activation="relu", hidden=hidden, **architecture)).eval()))
    side = network.architecture.image
    calibrate(network, np.random.default_rng(0).integers(0, 256, (CALIBRATION, side, side, 3), np.uint8), seed=0)
    exported = export_onnx(network)
    checked = CheckedPasses(exported, random_inputs("the ReLU network", exported, CHECK_IMAGES, SEED))
    for stage, passes in (("tidy", TIDY), ("streamlined", STREAMLINE), ("integer", INTEGER)):
        exported = checked.run(stage, passes)
    return exported


def measure(row: Row, integer: ModelProto, folder: Path, images: int, place: bool, data: Path | None) -> dict[str, Any]:
    """Builds one row's design in `folder`; images: 0 leaves the simulation out."""
    import onnx

    from accel.emit import emit
    from custom_ops.devices import device as find_device
    from passes.fold_to_target import folding_report
    from pipelines.simulate import simulate_images

    config = load_config(Path(row.config)) if row.config else None
    name = config.device if config else XCUP
    if config and config.tables is not None:
        from pipelines.compression import calibration, smaller

        integer = smaller(integer, config.tables, calibration(data, config.tables)).model
    model = folded(integer, config.target_cycles if config else row.target, name, row.article)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(integer, folder / "3_integer.onnx")
    onnx.save(model, folder / "4_dataflow.onnx")
    emit(model, folder / "rtl")
    result: dict[str, Any] = {"name": row.name, "device": name, **dict.fromkeys(FIGURES), "estimate": folding_report(model)}
    if images:
        side = [d.dim_value for d in integer.graph.input[0].type.tensor_type.shape.dim][1:]
        pixels = np.random.default_rng(SEED).integers(0, 256, (images, *side), np.uint8)
        run = simulate_images(folder, pixels, stalls=0.0, seed=SEED, taps=False)
        if run["mismatches"]:
            raise UserError(f"{row.name}: {run['mismatches']} logits differ; first: {run['first_wrong']}")
        result |= {"cycles_per_image": run["cycles_per_image"], "latency_cycles": run["latency_cycles"]}
    if config and place and find_device(name).placeable:
        from accel.synth.ecp5 import bitstream

        made = bitstream(folder / "rtl", folder / "synth", config.device, config.package, config.speed, config.mhz, config.seed)
        result |= {"lut": made.lut4.used, "dsp": made.dsp.used, "bram": made.bram.used, "fmax_mhz": made.fmax_mhz}
        if result["cycles_per_image"]:
            result["images_per_second"] = round(made.fmax_mhz * 1e6 / result["cycles_per_image"], 1)
    else:
        result |= {f: v for f, v in asdict(counted(folder / "rtl", find_device(name).family)).items() if f != "ff"}
    return result


def counted(rtl: Path, family: str) -> Any:
    """yosys's counts of a design, as the sum of its modules."""
    from accel.synth import xilinx
    from accel.synth.netlist import ECP5, total

    return total(rtl, xilinx.XCUP if family == "xcup" else ECP5)


def folded(integer: ModelProto, target: int | None, device: str, article: bool) -> ModelProto:
    """The dataflow graph of an integer graph."""
    from qonnx.core.modelwrapper import ModelWrapper

    from passes import HARDWARE, dataflow
    from passes.check import prepared, transformed
    from passes.graph import Graph
    from passes.hardware import hardware_nodes

    wrapper = ModelWrapper(prepared(integer))
    for step in HARDWARE:
        wrapper = transformed(wrapper, step)
    fixed: Mapping[str, Mapping[str, int]] = {}
    if article:
        graph = Graph(wrapper)
        fixed = {node.name: {"PE": 1, "SIMD": graph.shape(node.input[1])[1], "packed": 0}
                 for node in hardware_nodes(graph) if node.op_type in ("MatVec", "TokenMix")}  # fmt: skip
    for step in dataflow(target, fixed, device)[len(HARDWARE) :]:
        wrapper = transformed(wrapper, step)
    return wrapper.model


def ratios(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """{"a / b": {"dsp": ..., "lut": ..., "lut + 100 dsp": ...}} for the rows that have a partner."""
    found = {}
    for row in ROWS:
        if row.against and row.name in measured and row.against in measured:
            mine, other = measured[row.name], measured[row.against]
            sums = [r["lut"] + DSP_LUTS * r["dsp"] for r in (mine, other)]
            found[f"{row.name} / {row.against}"] = {
                "dsp": mine["dsp"] / other["dsp"], "lut": mine["lut"] / other["lut"], f"lut + {DSP_LUTS} dsp": sums[0] / sums[1],
            }  # fmt: skip
    return found


if __name__ == "__main__":
    main()
