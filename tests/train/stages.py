"""Single stages of a tiny run, trained by the loop."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.conftest import random_images
from tests.train import tiny
from train.data import Cifar10
from train.distill import Lessons
from train.loop import Stage, run_stage
from train.quantized import QuantResMLP, calibrate, quantize
from train.recipe import Recipe
from train.resmlp import ResMLP, absorb
from train.run import build
from train.transfer import BlockTransfer, start_from

EPOCHS = 4


def recipe(activation: str = "lerp_psa", kind: str = "float", **stage: object) -> Recipe:
    """A stage of each kind, the one named `kind` with these settings."""
    common = {"epochs": EPOCHS, "batch": 16, "learning_rate": 1e-3}
    stages = {name: common | {"kind": name} for name in ("transfer", "float", "quantized")}
    stages[kind] |= stage
    return tiny.recipe(stages, model={"activation": activation}, teacher="wise")


def float_model(given: Recipe) -> ResMLP:
    torch.manual_seed(given.seed)
    model = build(given.model)
    assert isinstance(model, ResMLP)
    return model


def quantized_model(given: Recipe) -> QuantResMLP:
    model = quantize(absorb(float_model(given).eval()))
    calibrate(model, random_images(48, seed=0), seed=0, batch=16)
    return model


def stage_of(kind: str, given: Recipe, taught: Lessons) -> Stage:
    """A fresh stage of that kind."""
    config = given.stages[kind]
    if kind == "quantized":
        return Stage(kind, config, quantized_model(given), 2)
    model = float_model(given)
    if kind == "float":
        return Stage(kind, config, model, 1)
    assert taught.teacher is not None
    start_from(model, taught.teacher.model, given.name)
    return Stage("transfer_0", config, model, 0, BlockTransfer(model, taught.teacher.model, 0), kind)


def train(
    kind: str, given: Recipe, data: Cifar10, folder: Path, *, taught: bool = False, resume: bool = False, stop_after: int | None = None
):
    """(the model after this call, its rows)."""
    material = tiny.lessons(given, data, tiny.teacher(folder / "answers") if taught or kind == "transfer" else None)
    stage = stage_of(kind, given, material)
    rows = run_stage(stage, given, material, data, folder, resume=resume, compile_model=False, stop_after=stop_after)
    return stage.model, rows
