"""One recipe from start to end: float training, absorption, quantization-aware training, one checkpoint."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from train import checkpoint
from train.data import Cifar10
from train.loop import Stage, TrainingError, accuracy, run_stage
from train.plots import plot_functions, plot_history
from train.quantized import QuantResMLP, calibrate, quantize
from train.recipe import ModelConfig, Recipe, validate
from train.resmlp import Architecture, ResMLP, absorb

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metrics:
    """Top-1 in percent on the test images."""

    float_top1: float
    int8_top1: float
    test_images: int


def train_recipe(recipe: Recipe, data: Cifar10, out: Path, *, resume: bool = False, compile_model: bool = True) -> tuple[Path, Metrics]:
    """Train both stages into the folder `out`; returns the checkpoint `out/<name>.pt` and its metrics.

    With `resume` an interrupted run continues to the same result; without it, a folder that already holds a run is
    refused, so that nothing is lost.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not resume and any(out.glob("last_*.pt")):
        raise TrainingError(f"{out}: holds a run already; continue it with --resume or name another folder with --out")
    torch.manual_seed(recipe.seed)
    model = ResMLP(recipe.model.architecture())
    rows = run_stage(Stage("float", recipe.float_training, model, 0), recipe, data, out, resume=resume, compile_model=compile_model)
    if recipe.finish_training is not None:
        finish = Stage("finish", recipe.finish_training, model, 2)
        rows = rows + _later(run_stage(finish, recipe, data, out, resume=resume, compile_model=compile_model), len(rows))
    absorbed = absorb(model.eval())
    float_top1 = accuracy(absorbed, data.x_test, data.y_test)
    quantized = quantize(absorbed)
    torch.manual_seed(recipe.seed + 1)
    calibrate(quantized, data.x_train[: recipe.train_images], recipe.seed)
    log.info("%s: float top-1 %.2f %%, quantized before training %.2f %%", recipe.name, float_top1,
             accuracy(quantized, data.x_test, data.y_test))  # fmt: skip
    quantized_rows = run_stage(Stage("quantized", recipe.quantized_training, quantized, 1), recipe, data, out, resume=resume,
                               compile_model=False)  # fmt: skip
    metrics = Metrics(float_top1, accuracy(quantized, data.x_test, data.y_test), len(data.x_test))
    path = out / f"{recipe.name}.pt"
    checkpoint.save(path, {
        "recipe": recipe.model_dump(), "metrics": asdict(metrics), "float": model.state_dict(),
        "quantized": quantized.state_dict(), "history": {"float": rows, "quantized": quantized_rows},
    })  # fmt: skip
    plot_history(rows, quantized_rows, recipe.name, out / "history.png")
    plot_functions(quantized, recipe.name, out / "functions.png")
    return path, metrics


def _later(rows: list[dict[str, float]], epochs: int) -> list[dict[str, float]]:
    """Rows of a stage that follows `epochs` others."""
    return [row | {"epoch": row["epoch"] + epochs} for row in rows]


def load_quantized(path: Path | str) -> tuple[QuantResMLP, dict[str, Any]]:
    """(the quantized model in evaluation mode, the checkpoint's content); CheckpointError where they do not fit."""
    content = checkpoint.load(path)
    architecture = _architecture(content, path)
    if "quantized" not in content:
        raise checkpoint.CheckpointError(f"{path}: holds float weights without quantizers; finish the run with `psaflow train --resume`")
    model = QuantResMLP(architecture)
    _load(model, content["quantized"], path)
    return model.eval(), content


def load_float(path: Path | str) -> tuple[ResMLP, dict[str, Any]]:
    """(the float model in evaluation mode, the checkpoint's content); CheckpointError where they do not fit."""
    content = checkpoint.load(path)
    model = ResMLP(_architecture(content, path))
    state = content.get("float")
    if state is None:
        raise checkpoint.CheckpointError(f"{path}: holds no float model; finish the run with `psaflow train --resume`")
    _load(model, state, path)
    return model.eval(), content


def _architecture(content: dict[str, Any], path: Path | str) -> Architecture:
    return validate(ModelConfig, content.get("recipe", {}).get("model", {}), f"{path}: recipe").architecture()


def _load(model: torch.nn.Module, state: dict[str, Any], path: Path | str) -> None:
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = " ".join(str(error).split()).split(": ", 1)[-1]
        raise checkpoint.CheckpointError(f"{path}: its weights do not fit its recipe ({first[:160]})") from None
