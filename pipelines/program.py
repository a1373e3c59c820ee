"""psaflow program: a model as a program of the fixed engine, and its cycles in the engine's model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipelines.console import command, write_whole


@click.command("program")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for program.bin, program.txt and program.json.")
@click.option("--inputs", type=click.Choice(["8", "16"]), default="16", show_default=True, help="Of the array, by 16 outputs.")
@click.option("--bandwidth", type=click.FloatRange(0, min_open=True), default=16, show_default=True, help="Bytes a cycle of the memory.")
@click.option("--latency", type=click.IntRange(0), default=30, show_default=True, help="Cycles of the memory.")
@command
def main(model: Path, out: Path, inputs: str, bandwidth: float, latency: int, data: Path | None) -> dict[str, Any]:
    """MODEL (a checkpoint, or an .onnx of any stage up to 3_integer.onnx) as a program of the fixed engine (docs/simd.md).

    program.bin is what lies in memory, program.txt the same as text, program.json what the driver must know.
    """
    from accel.simd.assembler import disassemble
    from accel.simd.compiler import compile_model
    from accel.simd.model import Engine
    from accel.simd.sizes import Build
    from accel.simd.timing import Memory
    from pipelines.serving import integer_model

    program = compile_model(integer_model(model), Build(inputs=int(inputs)))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *program.image), dtype=np.uint8)
    run = Engine(program.build, Memory(bandwidth, latency)).run(program.code, program.loop, pixels)
    facts = {
        "bytes": len(program.code), "loop": program.loop, "image": list(program.image), "classes": program.classes,
        "layers": len(program.layers), "tiles": len(program.tiles), "build": dataclasses.asdict(program.build),
    }  # fmt: skip
    write_whole(out / "program.bin", program.code)
    write_whole(out / "program.txt", disassemble(program.code).encode())
    write_whole(out / "program.json", (json.dumps(facts, indent=2) + "\n").encode())
    cycles = {"back_to_back": int(run.back_to_back), "cold": int(run.cold), "bandwidth": bandwidth, "latency": latency}
    return {"program": str(out / "program.bin"), **facts, "cycles": cycles}


if __name__ == "__main__":
    main()
