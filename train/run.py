"""One recipe from start to end, or a table of them: stages in order, one checkpoint each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train import checkpoint, parallel
from train.cnn import ResidualCNN
from train.data import Cifar10
from train.distill import Lessons, Teacher
from train.loop import Stage, TrainingError, accuracy, run_stage, steps_per_epoch
from train.plots import plot_functions, plot_history
from train.quantized import QuantResMLP, calibrate, quantize
from train.recipe import ModelConfig, Recipe, validate
from train.resmlp import Architecture, ResMLP, absorb
from train.transfer import BlockTransfer, start_from

log = logging.getLogger(__name__)
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Metrics:
    """Top-1 in percent on the test images; no INT8 where a recipe has no quantized stage."""

    float_top1: float
    test_images: int
    int8_top1: float | None = None

    def known(self) -> dict[str, float]:
        """What was measured, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def train_recipe(recipe: Recipe, data: Cifar10, out: Path, *, teacher: Path | None = None, answers: Path | None = None,
                 resume: bool = False, compile_model: bool = True, device: torch.device | None = None) -> tuple[Path, Metrics]:  # fmt: skip
    """Train all stages into the folder `out`; returns the checkpoint `out/<name>.pt` and its metrics.

    `teacher` is the checkpoint of the recipe's teacher; its answers are kept in `answers` [out/answers]. With `resume`
    an interrupted run continues to the same result; without it, a folder that already holds a run is refused, so that
    nothing is lost.
    """
    device = device or torch.device("cpu")
    _check_stages(recipe, data)
    if not resume and any(out.glob("last_*.pt")):
        raise TrainingError(f"{out}: holds a run already; continue it with --resume or name another folder with --out")
    lessons = _lessons(recipe, data, device, teacher, answers or out / "answers")
    torch.manual_seed(recipe.seed)
    model = build(recipe.model).to(device)
    history: dict[str, Rows] = {}
    number = 0

    def run(stage: Stage, *, compiled: bool) -> None:
        nonlocal number
        history[stage.name] = run_stage(stage, recipe, lessons, data, out, resume=resume, compile_model=compiled)
        number += 1

    final: nn.Module = model
    float_top1 = None
    for name, config in recipe.stages.items():
        if config.kind == "transfer":
            assert isinstance(model, ResMLP) and lessons.teacher is not None
            start_from(model, lessons.teacher.model, recipe.name)
            for index in range(recipe.model.blocks):
                objective = BlockTransfer(model, lessons.teacher.model, index)  # type: ignore[arg-type]
                run(Stage(f"{name}_{index}", config, model, number, objective, name), compiled=compile_model)
        elif config.kind == "quantized":
            assert isinstance(model, ResMLP)
            absorbed = absorb(model.eval())
            float_top1 = accuracy(absorbed, data.x_test, data.y_test)
            final = quantize(absorbed.cpu())
            torch.manual_seed(recipe.seed + 1)
            calibrate(final, data.x_train[: recipe.train_images], recipe.seed)
            final.to(device)
            log.info("%s: float top-1 %.2f %%, quantized before training %.2f %%", recipe.name, float_top1,
                     accuracy(final, data.x_test, data.y_test))  # fmt: skip
            run(Stage(name, config, final, number), compiled=False)
        else:
            run(Stage(name, config, model, number), compiled=compile_model)
    last = accuracy(final, data.x_test, data.y_test)
    metrics = Metrics(last, len(data.x_test)) if float_top1 is None else Metrics(float_top1, len(data.x_test), last)
    path = out / f"{recipe.name}.pt"
    if parallel.rank() == 0:
        _finish(recipe, model, final, history, metrics, path)
    parallel.wait()
    return path, metrics


def _check_stages(recipe: Recipe, data: Cifar10) -> None:
    """Refuse before the first epoch what a later stage could not be trained on."""
    for section in recipe.stages:
        steps_per_epoch(recipe, section, len(data.x_train[: recipe.train_images]))


def _untaught(recipe: Recipe) -> TrainingError:
    return TrainingError(f"{recipe.name}: learns from {recipe.teacher!r}; name its checkpoint with --teacher, or train it first")


def _lessons(recipe: Recipe, data: Cifar10, device: torch.device, teacher: Path | None, answers: Path) -> Lessons:
    """The training images on the device, with the teacher that the recipe names."""
    taught = None
    if recipe.teacher is not None:
        if teacher is None:
            raise _untaught(recipe)
        taught = Teacher(recipe.teacher, load_float(teacher)[0].to(device), answers)
    count = recipe.train_images or len(data.x_train)
    images, labels = torch.from_numpy(data.x_train[:count]).to(device), torch.from_numpy(data.y_train[:count]).to(device)
    return Lessons(images, labels, recipe.seed, taught)


def _finish(recipe: Recipe, model: nn.Module, final: nn.Module, history: dict[str, Rows], metrics: Metrics, path: Path) -> None:
    """The checkpoint of a finished recipe and its pictures; TrainingError where they cannot be written."""
    content = {"recipe": recipe.model_dump(), "metrics": metrics.known(), "float": model.state_dict(), "history": history}
    if isinstance(final, QuantResMLP):
        content["quantized"] = final.state_dict()
    try:
        checkpoint.save(path, content)
        plot_history(history, recipe.name, path.parent / "history.png")
        plot_functions(final, recipe.name, path.parent / "functions.png")
    except OSError as error:
        reason = f"could not be written ({error.strerror}); make room and finish it with --resume"
        raise TrainingError(f"{recipe.name}: {path} or its pictures {reason}") from None


def train_table(recipes: list[Recipe], data: Cifar10, out: Path, *, compile_model: bool = True,
                device: torch.device | None = None, found: Callable[[str], Path | None]) -> dict[str, Metrics]:  # fmt: skip
    """Train recipes in their order, each into `out/<name>`, continuing whatever was begun; metrics by name.

    A finished recipe is not trained again. Students of one teacher share its answers. `found` names the checkpoint of a
    teacher that is not in the table.
    """

    results = {}
    finished = {recipe.name: _finished(recipe, out) for recipe in recipes}
    for recipe in recipes:
        if finished[recipe.name] is None:
            _check_stages(recipe, data)
            if recipe.teacher is not None and recipe.teacher not in finished and teacher_of(recipe, out, found) is None:
                raise _untaught(recipe)
    for recipe in recipes:
        folder = out / recipe.name
        before = finished[recipe.name]
        if before is not None:
            results[recipe.name] = before
            log.info("%s: finished before, %s", recipe.name, folder)
            continue
        teacher = teacher_of(recipe, out, found)
        _, results[recipe.name] = train_recipe(recipe, data, folder, teacher=teacher, answers=out / "answers", resume=True,
                                               compile_model=compile_model, device=device)  # fmt: skip
    return results


def teacher_of(recipe: Recipe, runs: Path, found: Callable[[str], Path | None]) -> Path | None:
    """The checkpoint of a recipe's teacher: one trained in `runs`, else what `found` knows; None without a teacher."""
    if recipe.teacher is None:
        return None
    trained = runs / recipe.teacher / f"{recipe.teacher}.pt"
    return trained if trained.exists() else found(recipe.teacher)


def _finished(recipe: Recipe, out: Path) -> Metrics | None:
    """What was measured, where this very recipe has been trained in `out` before."""
    path = out / recipe.name / f"{recipe.name}.pt"
    content = checkpoint.load(path) if path.exists() else {}
    return Metrics(**content["metrics"]) if content.get("recipe") == recipe.model_dump() else None


def build(config: ModelConfig) -> nn.Module:
    """The network that a recipe names, with fresh weights."""
    return ResidualCNN(config.width) if config.kind == "cnn" else ResMLP(config.architecture())


def load_quantized(path: Path | str) -> tuple[QuantResMLP, dict[str, Any]]:
    """(the quantized model in evaluation mode, the checkpoint's content); CheckpointError where they do not fit."""
    content = checkpoint.load(path)
    architecture = _architecture(content, path)
    if "quantized" not in content:
        way_out = "its recipe needs a quantized stage, and the run its end (`psaflow train --resume`)"
        raise checkpoint.CheckpointError(f"{path}: holds float weights without quantizers; {way_out}")
    model = QuantResMLP(architecture)
    _load(model, content["quantized"], path)
    return model.eval(), content


def load_float(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """(the float model in evaluation mode, the checkpoint's content); CheckpointError where they do not fit."""
    content = checkpoint.load(path)
    model = build(_model_config(content, path))
    state = content.get("float")
    if state is None:
        raise checkpoint.CheckpointError(f"{path}: holds no float model; finish the run with `psaflow train --resume`")
    _load(model, state, path)
    return model.eval(), content


def _model_config(content: dict[str, Any], path: Path | str) -> ModelConfig:
    return validate(ModelConfig, content.get("recipe", {}).get("model", {}), f"{path}: recipe")


def _architecture(content: dict[str, Any], path: Path | str) -> Architecture:
    return _model_config(content, path).architecture()


def _load(model: torch.nn.Module, state: dict[str, Any], path: Path | str) -> None:
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        first = " ".join(str(error).split()).split(": ", 1)[-1]
        raise checkpoint.CheckpointError(f"{path}: its weights do not fit its recipe ({first[:160]})") from None
