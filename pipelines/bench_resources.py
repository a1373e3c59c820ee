"""psaflow bench resources: what the model says a module costs, and what yosys makes of it."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.console import columns, command, progress

if TYPE_CHECKING:  # imported where they are used, so that --help is quick
    from onnx import NodeProto

    from custom_ops.hw.cost import Usage

FIGURES = ("lut", "dsp", "bram")
Arrays = Mapping[str, np.ndarray]


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    header = ("module", *(f"{figure} {who}" for figure in FIGURES for who in ("model", "yosys")), "LUT error %")
    rows = [(r["name"], *(str(r[who][f]) for f in FIGURES for who in ("model", "yosys")), f"{r['lut_error_percent']:+.1f}")
            for r in result["rows"]]  # fmt: skip
    for line in columns([header, *rows]):
        click.echo(line)
    click.echo(f"{result['family']}: LUTs of all modules {result['total_lut_error_percent']:+.1f} %, the worst module "
               f"{result['worst_lut_error_percent']:.1f} %; {result['other_errors']} modules with other DSPs or block RAMs")  # fmt: skip


@click.command("resources")
@click.option("--family", type=click.Choice(["ecp5", "xcup"]), default="ecp5", show_default=True, help="Of devices.")
@click.option("--only", default="", help="Only modules whose name holds this.")
@click.option("--processes", type=click.IntRange(1), help="Modules mapped at the same time [all CPUs].")
@functools.partial(command, plain=show)
def main(family: str, only: str, processes: int | None, data: Path | None) -> dict[str, Any]:
    """Compare the resource model with yosys, module by module, over a grid of configurations (minutes; results are kept)."""
    cases = {name: case for name, case in grid().items() if only in name}
    return compare(cases, family, processes)


def compare(cases: Mapping[str, tuple[NodeProto, Arrays, tuple[int, ...]]], family: str, processes: int | None = None,
            cache: Path | None = None) -> dict[str, Any]:  # fmt: skip
    """Model and yosys for {name: (node, constants, shape of its stream inputs without the batch)}."""
    from onnx import NodeProto

    from accel.emit import instance_of
    from accel.instance import RTL
    from accel.synth.netlist import ECP5, synthesise
    from accel.synth.xilinx import XCUP
    from accel.verilog import wrapper
    from custom_ops.hw import hardware_node

    model: dict[str, Usage] = {}
    with tempfile.TemporaryDirectory() as folder, progress(len(cases), "resources", "module") as bar:
        rtl, modules = Path(folder), []
        for name, (unnamed, arrays, shape) in cases.items():
            node = NodeProto()
            node.CopyFrom(unnamed)
            node.name = name
            shapes = {tensor: (1, *shape) for tensor in node.input}
            planned = hardware_node(node, arrays, shapes)
            part = instance_of(node, planned, arrays, shapes)
            model[name] = planned.usage(family)
            for file, text in {f"{name}.sv": wrapper(part, name), **part.memories}.items():
                (rtl / file).write_text(text)
            for source in part.sources:
                (rtl / source).write_bytes((RTL / source).read_bytes())
            modules.append({"name": name, "sources": [f"{name}.sv", *part.sources], "memories": [*part.memories]})
        (rtl / "design.json").write_text(json.dumps({"top": "none", "modules": modules}))

        def tell(_name: str, _seconds: float) -> None:
            bar.update()

        mapped = synthesise(rtl, cache, processes, tell, XCUP if family == "xcup" else ECP5)
    rows: list[dict[str, Any]] = []
    for name, said in model.items():
        made = mapped[name][1]
        rows.append({"name": name, "model": {f: getattr(said, f) for f in FIGURES}, "yosys": {f: getattr(made, f) for f in FIGURES},
                     "lut_error_percent": 100 * (said.lut / max(made.lut, 1) - 1)})  # fmt: skip
    total = {who: sum(row[who]["lut"] for row in rows) for who in ("model", "yosys")}
    return {
        "family": family, "rows": rows, "total_lut_error_percent": 100 * (total["model"] / max(total["yosys"], 1) - 1),
        "worst_lut_error_percent": max(abs(row["lut_error_percent"]) for row in rows),
        "other_errors": sum(any(row["model"][f] != row["yosys"][f] for f in FIGURES[1:]) for row in rows),
    }  # fmt: skip


def grid() -> dict[str, tuple[NodeProto, Arrays, tuple[int, ...]]]:
    """Modules of the four-block network of hidden width 96 in several foldings, and some of other sizes."""
    found = {}
    foldings = ((1, 1, 1, 0), (1, 6, 1, 0), (3, 3, 1, 0), (3, 6, 1, 0), (3, 6, 1, 9), (1, 12, 1, 0), (6, 6, 1, 0), (3, 12, 1, 36),
                (2, 48, 2, 0), (6, 16, 1, 0), (1, 96, 1, 0))  # fmt: skip
    for pe, simd, lanes, fabric in foldings:
        values: dict[str, Any] = {"PE": pe, "SIMD": simd, "in_lanes": lanes, "out_lanes": lanes, "fabric": fabric}
        found[f"mat_vec_{pe}x{simd}" + f"_fabric{fabric}" * bool(fabric)] = matrix("MatVec", (64, 96), 96, 96, **values)
    found["mat_vec_classes"] = matrix("MatVec", (1, 96), 10, 96, shift=False, PE=1, SIMD=1)
    found["mat_vec_embed"] = matrix("MatVec", (64, 48), 96, 48, PE=3, SIMD=3)
    for pe, simd in ((1, 8), (3, 4), (6, 2), (3, 8), (8, 8)):
        found[f"token_mix_{pe}x{simd}"] = matrix("TokenMix", (64, 96), 64, 64, PE=pe, SIMD=simd)
    for lanes in (1, 2):
        for width in (256, 65):
            found[f"channel_lut_{width}_{lanes}"] = node("ChannelLUT", (64, 96), {"table": _int8(96, width)}, PE=lanes)
        params = {"mult": _int32(96, -4000, 4000), "bias": _int32(96, -60000, 60000), "shift": _int32(96, 9, 12)}
        found[f"channel_requant_{lanes}"] = node("ChannelRequant", (64, 96), params, PE=lanes)
        found[f"residual_add_{lanes}"] = node("ResidualAdd", (64, 96), {}, streams=2, PE=lanes, a_shift=2, shift=2)
        found[f"token_mean_{lanes}"] = node("TokenMean", (64, 96), {}, PE=lanes, shift=6)
        found[f"fork_{lanes}"] = node("Fork", (64, 96), {}, PE=lanes)
        found[f"patches_{lanes}"] = node("Patches", (32, 32, 3), {}, PE=lanes)
    for depth in (16, 64, 141, 3000, 6047):
        found[f"fifo_{depth}"] = node("Fifo", (64, 96), {}, PE=1, depth=depth)
    for into, out in ((1, 2), (4, 1)):
        found[f"width_converter_{into}to{out}"] = node("WidthConverter", (64, 96), {}, in_lanes=into, out_lanes=out)
    return found


def matrix(op: str, shape: tuple[int, ...], rows: int, products: int, shift: bool = True, **folding: Any) -> Any:
    """A matrix unit with weights and biases as a trained network has them."""
    arrays = {"weight": _int8(rows, products), "bias": _int32(rows, -9000, 9000)}
    if shift:
        arrays["shift"] = _int32(rows, 8, 12)
    return node(op, shape, arrays, **folding)


def node(op: str, shape: tuple[int, ...], arrays: dict[str, np.ndarray], streams: int = 1, **attributes: Any) -> Any:
    """(node, constants, shape)."""
    from onnx import helper

    from custom_ops import HW_DOMAIN

    outputs = ["y", "y2"] if op == "Fork" else ["y"]
    return helper.make_node(op, [*("x", "x2")[:streams], *arrays], outputs, domain=HW_DOMAIN, **attributes), arrays, shape


def _int8(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape[-1]).integers(-128, 128, shape).astype(np.int8)


def _int32(count: int, low: int, high: int) -> np.ndarray:
    return np.random.default_rng(count).integers(low, high, count).astype(np.int32)


if __name__ == "__main__":
    main()
