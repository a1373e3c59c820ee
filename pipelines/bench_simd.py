"""psaflow bench simd: cycles of the fixed engine's RTL, network by network, its logits compared with onnxruntime's."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.console import Mismatch, columns, command
from pipelines.serving import integer_model

if TYPE_CHECKING:  # imported where they are used, so that --help is quick
    from onnx import ModelProto

    from accel.simd.simulate import Simulator
    from accel.simd.timing import Memory

DEFAULT = Path("checkpoints/lerp_psa_h96.pt")
ROWS = ("psa_64_segments", "psa_256_entries", "relu_96", "relu_192")  # the ReLU networks are untrained: weights take no cycles
EVERY = 4  # codes from knot to knot


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    rows = [(r["name"], f"{r['back_to_back']:.0f}", f"{r['cold']:.0f}", str(r["program_bytes"])) for r in result["rows"]]
    for line in columns([("network", "cycles back to back", "cold", "bytes of program"), *rows]):
        click.echo(line)
    click.echo(f"{result['inputs']} x 16 products, {result['bandwidth']:g} bytes a cycle after {result['latency']} cycles, "
               "nothing kept between images")  # fmt: skip


@click.command("simd")
@click.option("--model", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="PSA: a checkpoint or an integer .onnx.")
@click.option("--row", "chosen", multiple=True, type=click.Choice(ROWS), help="Only this network; may be repeated.")
@click.option("--inputs", type=click.Choice(["8", "16"]), default="16", show_default=True, help="Of the array, by 16 outputs.")
@click.option("--bandwidth", type=click.FloatRange(0, min_open=True), default=16, show_default=True, help="Bytes a cycle of the memory.")
@click.option("--latency", type=click.IntRange(0), default=30, show_default=True, help="Cycles of the memory.")
@click.option("--images", type=click.IntRange(2), default=4, show_default=True, help="Back to back, the first one cold.")
@functools.partial(command, plain=show)
def main(model: Path, chosen: tuple[str, ...], inputs: str, bandwidth: float, latency: int, images: int,
         data: Path | None) -> dict[str, Any]:  # fmt: skip
    """Cycles per image of the simulated fixed engine (docs/simd.md), the same engine for every network."""
    from accel.simd.simulate import compile_engine
    from accel.simd.sizes import Build
    from accel.simd.timing import Memory
    from accel.tools import cache_folder

    engine = compile_engine(Build(inputs=int(inputs)), cache_folder())
    memory = Memory(bandwidth, latency)
    rows = [measure(name, network(name, model), engine, memory, images) for name in ROWS if not chosen or name in chosen]
    return {"model": str(model), "inputs": int(inputs), "bandwidth": bandwidth, "latency": latency, "images": images, "rows": rows}


def network(name: str, psa: Path) -> ModelProto:
    """The integer graph of a row."""
    from pipelines.bench_rtl import relu_network
    from pipelines.compression import smaller
    from pipelines.config import Tables

    if name.startswith("relu"):
        return relu_network(int(name.rpartition("_")[2]))
    integer = integer_model(psa)
    return integer if name == "psa_256_entries" else smaller(integer, Tables(every=EVERY, method="subsample"), None).model


def measure(name: str, model: ModelProto, engine: Simulator, memory: Memory, images: int) -> dict[str, Any]:
    """One network on the engine; Mismatch where a logit differs from onnxruntime's."""
    from accel.simd.compiler import compile_model
    from custom_ops.runtime import session

    program = compile_model(model, engine.build)
    pixels = np.random.default_rng(0).integers(0, 256, (images, *program.image), np.uint8)
    run = engine.run(program, pixels, memory)
    reference = session(model)
    expected = reference.run(None, {reference.get_inputs()[0].name: pixels})[0].reshape(images, -1)
    wrong = int((np.stack([image.logits for image in run.images]) != expected).sum())
    apart = run.images[-1].last_logit - run.images[-2].last_logit
    row = {"name": name, "back_to_back": float(apart), "cold": float(run.cold), "program_bytes": len(program.code), "mismatches": wrong}
    if wrong:
        raise Mismatch(f"{name}: {wrong} of {expected.size} logits differ from onnxruntime's", row)
    return row


if __name__ == "__main__":
    main()
