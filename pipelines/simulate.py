"""psaflow simulate: a build's accelerator on images, cycle by cycle, every layer's stream compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipelines.console import Mismatch, UserError, command, progress
from pipelines.images import test_images


@click.command("simulate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), default=8, show_default=True, help="How many test images.")
@click.option("--stalls", type=click.FloatRange(0, 0.95), default=0.25, show_default=True,
              help="Chance per cycle that the input, and the output, waits.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of the stalls, and of random images.")
@click.option("--taps/--no-taps", default=True, help="Compare every layer's stream, not only the logits.")
@command
def main(folder: Path, images: int, stalls: float, seed: int, taps: bool, data: Path | None) -> dict[str, Any]:
    """Simulate the accelerator in FOLDER (made by `psaflow build`); exit status 1 if any value differs."""
    from pipelines.build import read_report

    read_report(folder)
    if not (folder / "rtl" / "design.json").is_file():
        raise UserError(f"{folder}: built only up to its graphs; build it with --until rtl or further")
    pixels = test_images(data, seed).images
    if images > len(pixels):
        raise UserError(f"--images {images}: there are {len(pixels)}")
    result = simulate_images(folder, pixels[:images], stalls=stalls, seed=seed, taps=taps)
    if result["mismatches"]:
        raise Mismatch(f"{folder}: {result['mismatches']} of {result['compared']} values differ; first: {result['first_wrong']}", result)
    return result


def simulate_images(folder: Path, images: np.ndarray, *, stalls: float, seed: int, taps: bool = True) -> dict[str, Any]:
    """Compare the simulated top with onnxruntime on uint8 images [n, 32, 32, 3].

    The logits are compared with 3_integer.onnx, every other stream with its tensor in 4_dataflow.onnx.
    """
    from accel.simulate import simulate
    from custom_ops.runtime import session

    model = session(folder / "4_dataflow.onnx", kernels=False, outputs="all")
    names = [o.name for o in model.get_outputs()]
    references = dict(zip(names, model.run(None, {model.get_inputs()[0].name: images}), strict=True))
    integer = session(folder / "3_integer.onnx", kernels=False)
    logits = integer.run(None, {integer.get_inputs()[0].name: images})[0]
    for name, value in references.items():
        if value.size == logits.size and value.dtype == logits.dtype and name.startswith(integer.get_outputs()[0].name):
            references[name] = logits.reshape(value.shape)
    with progress(len(images), "simulate", "image") as bar:
        per_image = logits.size // len(logits)

        def tell(cycle: int, beats: dict[str, int]) -> None:
            bar.n = min(next(iter(beats.values()), 0) // per_image, len(images))
            bar.set_postfix_str(f"cycle {cycle}")
            bar.refresh()

        result = simulate(folder, images, references, seed=seed, stalls=stalls, taps=taps,
                          progress=tell if sys.stderr.isatty() else None)  # fmt: skip
    return {
        "images": len(images), "mismatches": result.mismatches, "cycles_per_image": result.cycles_per_image,
        "latency_cycles": result.latency_cycles, "stalls": stalls, "compared": result.compared,
        "links": result.link_mismatches, "not_compared": list(result.not_compared), "cycles": result.cycles,
        "first_wrong": None if result.first_wrong is None else str(result.first_wrong),
        "images_per_second": len(images) / result.seconds,
    }  # fmt: skip


if __name__ == "__main__":
    main()
