"""psaflow evaluate: top-1 of a model in onnxruntime, or of a checkpoint in Brevitas."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from pipelines.console import UserError, command, progress
from pipelines.images import check_input

CLASSES = 10
LOGITS = ("tensor(float)", "tensor(int32)", "tensor(int8)")
BATCH = 100  # images; small enough for the caches of a laptop


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), help="Only the first so many test images [all].")
@click.option("--stage", type=click.Choice(["int8", "float"]), default="int8", help="Which of a checkpoint's two models.")
@click.option("--kernels/--no-kernels", default=True, help="Our C++ kernels in onnxruntime, where they can be built.")
@click.option("--threads", type=click.IntRange(1), help="Threads of onnxruntime [all cores].")
@command
def main(model: Path, images: int | None, stage: str, kernels: bool, threads: int | None, data: Path | None) -> dict[str, Any]:
    """Top-1 of MODEL (an .onnx of any stage, or a checkpoint) on CIFAR-10's test images."""
    from train.data import load_cifar10

    run, engine = open_model(model, stage=stage, kernels=kernels, threads=threads)
    cifar = load_cifar10(data)
    x, y = cifar.x_test[:images], cifar.y_test[:images]
    started = time.perf_counter()
    predicted = predict(run, x).argmax(1)
    seconds = time.perf_counter() - started
    return {"top1": 100.0 * float((predicted == y).mean()), "images": len(x), "images_per_second": len(x) / seconds, "engine": engine}


def open_model(path: Path, *, stage: str = "int8", kernels: bool = True, threads: int | None = None) -> tuple[Callable, str]:
    """(a function from uint8 images to logits [n, classes], the engine's name) of an .onnx file or a checkpoint."""
    if path.suffix == ".onnx":
        if stage != "int8":
            raise UserError(f"{path}: --stage {stage} is for checkpoints; an .onnx holds one model")
        return open_onnx(path, kernels=kernels, threads=threads)
    import torch

    from train.loop import predict as torch_predict
    from train.run import load_float, load_quantized

    network, _ = load_quantized(path) if stage == "int8" else load_float(path)
    if threads:
        torch.set_num_threads(threads)
    return lambda x: torch_predict(network, x, progress=False).numpy(), "brevitas" if stage == "int8" else "pytorch"


def open_onnx(path: Path, *, kernels: bool = True, threads: int | None = None) -> tuple[Callable, str]:
    """Like `open_model`, for an .onnx file."""
    from custom_ops.runtime import ORT_ERRORS, session

    opened = session(path, kernels="auto" if kernels else False, threads=threads)
    name = check_input(path, [(i.name, i.type.removeprefix("tensor(").removesuffix(")"), i.shape) for i in opened.get_inputs()])
    outputs = opened.get_outputs()
    if len(outputs) != 1 or outputs[0].type not in LOGITS or outputs[0].shape[-1] != CLASSES:
        found = ", ".join(f"{o.name} {o.type} {o.shape}" for o in outputs)
        raise UserError(f"{path}: gives {found}; a model here gives one tensor of logits [N, {CLASSES}]")

    def run(x: np.ndarray) -> np.ndarray:
        try:
            return opened.run(None, {name: x})[0].reshape(len(x), CLASSES)
        except (*ORT_ERRORS, ValueError) as error:
            raise UserError(f"{path}: does not run: {' '.join(str(error).split())}") from None

    return run, "onnxruntime"


def predict(run: Callable, images: np.ndarray) -> np.ndarray:
    """Logits [n, classes] in batches, with progress."""
    parts = []
    with progress(len(images), "evaluate", "image") as bar:
        for start in range(0, len(images), BATCH):
            parts.append(run(images[start : start + BATCH]))
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
