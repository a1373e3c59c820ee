"""psaflow evaluate: top-1 and speed of a model in onnxruntime, or of a checkpoint in Brevitas."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.console import UserError, command, progress
from pipelines.images import check_input, input_of, read_inputs
from pipelines.serving import Opened, latency, machine_threads, served

if TYPE_CHECKING:
    from onnx import ModelProto

CLASSES = 10
LOGITS = ("tensor(float)", "tensor(int32)", "tensor(int8)")
BATCH = 100  # images; small enough for the caches of a laptop


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--images", type=click.IntRange(1), help="Only the first so many test images [all].")
@click.option("--stage", type=click.Choice(["int8", "float"]), default="int8", help="Which of a checkpoint's two models.")
@click.option("--kernels/--no-kernels", default=True, help="Our C++ kernels in onnxruntime, where they can be built.")
@click.option("--threads", type=click.IntRange(1), help="Threads [all cores].")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz of inputs of a model that takes no pixels: x, and y for top-1.")
@click.option("--runtime", is_flag=True, help="Lower MODEL to integers and fuse its layers first, as a build's runtime.onnx.")
@command
def main(model: Path, images: int | None, stage: str, kernels: bool, threads: int | None, inputs: Path | None, runtime: bool,
         data: Path | None) -> dict[str, Any]:  # fmt: skip
    """Top-1 of MODEL (an .onnx of any stage, or a checkpoint) on CIFAR-10's test images, and how fast it answers.

    An .onnx is run as it is written; with --runtime as its integer graph with fused layers, which gives the same logits. One that takes
    other inputs than pixels needs --inputs.
    """
    from custom_ops.load import read_model
    from train.data import load_cifar10

    if inputs is not None:
        if model.suffix != ".onnx":
            raise UserError(f"{model}: a checkpoint takes pixels; --inputs is for an .onnx")
        tests = read_inputs(inputs, model, read_model(model))
        opened = open_model(model, stage=stage, kernels=kernels, threads=threads, runtime=runtime, pixels=False)
        x, y = tests.images[:images], None if tests.labels is None else tests.labels[:images]
    else:
        opened = open_model(model, stage=stage, kernels=kernels, threads=threads, runtime=runtime)
        cifar = load_cifar10(data)
        x, y = cifar.x_test[:images], cifar.y_test[:images]
    started = time.perf_counter()
    predicted = predict(opened.run, x).argmax(1)
    seconds = time.perf_counter() - started
    top1 = None if y is None else 100.0 * float((predicted == y).mean())
    return {"top1": top1, "images": len(x), "images_per_second": len(x) / seconds,
            "latency_ms": latency(opened.run, x[0]), **opened.described()}  # fmt: skip


def open_model(path: Path, *, stage: str = "int8", kernels: bool = True, threads: int | None = None, runtime: bool = False,
               pixels: bool = True) -> Opened:  # fmt: skip
    """An .onnx file or a checkpoint, ready to run; with `runtime` lowered to integers and fused, in onnxruntime.

    pixels: whether an .onnx must take uint8 [N, 32, 32, 3] and give 10 logits.
    """
    if stage != "int8" and (path.suffix == ".onnx" or runtime):
        reason = "an .onnx holds one model" if path.suffix == ".onnx" else "--runtime serves the int8 model"
        raise UserError(f"{path}: --stage {stage} is for checkpoints; {reason}")
    if runtime:
        return open_onnx(path, kernels=kernels, threads=threads, model=served(path), pixels=pixels)
    if path.suffix == ".onnx":
        return open_onnx(path, kernels=kernels, threads=threads, pixels=pixels)
    import torch

    from train.loop import predict as torch_predict
    from train.run import load_float, load_quantized

    network, _ = load_quantized(path) if stage == "int8" else load_float(path)
    if threads:
        torch.set_num_threads(threads)
    engine = "brevitas" if stage == "int8" else "pytorch"
    return Opened(lambda x: torch_predict(network, x, progress=False).numpy(), engine, torch.get_num_threads())


def open_onnx(path: Path, *, kernels: bool = True, threads: int | None = None, model: ModelProto | None = None,
              pixels: bool = True) -> Opened:  # fmt: skip
    """An .onnx file, or what was made of it, in onnxruntime; `pixels` as for `open_model`."""
    from custom_ops.kernels import isa
    from custom_ops.load import read_model
    from custom_ops.runtime import ORT_ERRORS, kernels_of, session

    threads = threads or machine_threads()
    model = model or read_model(path)
    opened = session(model, kernels="auto" if kernels else False, threads=threads)
    described = [(i.name, i.type.removeprefix("tensor(").removesuffix(")"), i.shape) for i in opened.get_inputs()]
    if pixels:
        name = check_input(path, described)
    else:
        input_of(path, model)
        name = described[0][0]
    outputs = opened.get_outputs()
    classes = CLASSES if pixels else outputs[0].shape[-1] if outputs[0].shape else 0
    if len(outputs) != 1 or outputs[0].type not in LOGITS or outputs[0].shape[-1] != classes or not isinstance(classes, int) or not classes:
        found = ", ".join(f"{o.name} {o.type} {o.shape}" for o in outputs)
        raise UserError(f"{path}: gives {found}; a model here gives one tensor of logits [N, {CLASSES if pixels else 'classes'}]")

    def run(x: np.ndarray) -> np.ndarray:
        try:
            return opened.run(None, {name: x})[0].reshape(len(x), classes)
        except (*ORT_ERRORS, ValueError) as error:
            raise UserError(f"{path}: does not run: {' '.join(str(error).split())}") from None

    used = kernels_of(opened)
    return Opened(run, "onnxruntime", threads, used, isa() if used else None)


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
