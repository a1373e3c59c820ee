"""Models as onnxruntime serves them: lowered to integers, fused, opened with the kernels; and how fast they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.images import random_inputs

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

Run = Callable[[np.ndarray], np.ndarray]  # uint8 images [n, 32, 32, 3] -> logits [n, classes]

CHECK_IMAGES = 4  # random ones, through the model around every pass
SEED = 1  # of theirs
WARM_UP = 3  # runs that are not timed
LATENCY_RUNS = 1000  # runs of one image, as far as they fit LATENCY_SECONDS
LATENCY_SECONDS = 2.0


def machine_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def integer_model(source: Path) -> ModelProto:
    """The integer graph of a checkpoint, or of an .onnx of any stage up to it, every pass checked on a few images."""
    from passes import INTEGER, STREAMLINE, TIDY
    from passes.check import CheckedPasses

    if source.suffix == ".onnx":
        from custom_ops.load import read_model

        model = read_model(source)
    else:
        from train.export import export_onnx
        from train.run import load_quantized

        model = export_onnx(load_quantized(source)[0])
    checked = CheckedPasses(model, random_inputs(source, model, CHECK_IMAGES, SEED))
    for stage, passes in (("tidy", TIDY), ("streamlined", STREAMLINE), ("integer", INTEGER)):
        model = checked.run(stage, passes)
    return model


def runtime_model(integer: ModelProto) -> ModelProto:
    """An integer graph with its layers fused for onnxruntime, every pass checked on a few images."""
    from passes import RUNTIME
    from passes.check import CheckedPasses

    return CheckedPasses(integer, random_inputs("the integer graph", integer, CHECK_IMAGES, SEED)).run("runtime", RUNTIME)


def is_fused(model: ModelProto) -> bool:
    """Whether the fusing passes have been over a model."""
    from passes.fuse_linear import LAYERS

    return any(node.op_type in LAYERS and node.domain == "psaflow" for node in model.graph.node)


def served(source: Path) -> ModelProto:
    """A checkpoint or an .onnx as onnxruntime serves it: integers, fused; one that is fused already as it is."""
    if source.suffix == ".onnx":
        from custom_ops.load import read_model

        model = read_model(source)
        if is_fused(model):
            return model
    return runtime_model(integer_model(source))


@dataclass(frozen=True)
class Opened:
    """A model that answers: `run` it; the rest says what runs."""

    run: Run
    engine: str
    threads: int
    kernels: dict[str, int] = field(default_factory=dict)  # `psaflow.Linear` -> nodes that this kernel runs
    isa: str | None = None  # instructions that the kernels use; None without kernels

    def described(self) -> dict[str, Any]:
        """engine, threads, kernels, isa, as --json prints them."""
        return {"engine": self.engine, "threads": self.threads, "kernels": self.kernels, "isa": self.isa}


def latency(run: Run, image: np.ndarray) -> dict[str, float]:
    """Milliseconds from one image uint8 [32, 32, 3] to its logits: median and 99th percentile, and over how many runs."""
    alone = image[None]
    for _ in range(WARM_UP):
        run(alone)
    seconds: list[float] = []
    ends = time.perf_counter() + LATENCY_SECONDS
    while len(seconds) < LATENCY_RUNS and (time.perf_counter() < ends or not seconds):
        started = time.perf_counter()
        run(alone)
        seconds.append(time.perf_counter() - started)
    median, late = np.percentile(seconds, [50, 99]) * 1e3
    return {"median": float(median), "p99": float(late), "runs": len(seconds)}

