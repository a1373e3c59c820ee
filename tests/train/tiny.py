"""Training runs that take a moment: a tiny recipe, its data, and comparisons of what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.conftest import random_images
from train.data import Cifar10
from train.distill import Lessons, Teacher
from train.recipe import Recipe, validate
from train.run import build, train_recipe

MODEL = {"activation": "lerp_psa", "embed": 8, "hidden": 8, "blocks": 1, "grid": 16, "expansion": 2}
FLOAT = {"epochs": 2, "batch": 16}
QUANTIZED = {"kind": "quantized", "epochs": 2, "batch": 16, "learning_rate": 1e-4}


def images(train: int = 48, test: int = 20, seed: int = 0) -> Cifar10:
    """Random soft shapes with random labels."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    return Cifar10(
        random_images(train, seed=seed), rng.integers(0, 10, train), random_images(test, seed=seed + 1), rng.integers(0, 10, test)
    )


def recipe(stages: Mapping[str, Mapping[str, Any]] | None = None, *, model: Mapping[str, Any] | None = None, **changes: Any) -> Recipe:
    """A recipe named `tiny` of one block and eight channels, with one float stage unless told."""
    values = {"name": "tiny", "model": MODEL | dict(model or {}), "stages": stages or {"float": FLOAT}}
    return validate(Recipe, values | changes, "test")


def teacher_recipe(**model: Any) -> Recipe:
    """A ReLU network as wide as the students, for them to learn from."""
    return recipe(name="wise", model={"activation": "relu", "hidden": 12} | model, seed=7)


def teacher_checkpoint(data: Cifar10, folder: Path, **model: Any) -> Path:
    """The checkpoint of `teacher_recipe`, trained."""
    return train_recipe(teacher_recipe(**model), data, folder, compile_model=False)[0]


def teacher(answers: Path, seed: int = 7) -> Teacher:
    """A network with fresh weights, as a teacher."""
    torch.manual_seed(seed)
    return Teacher("wise", build(teacher_recipe().model), answers)


def lessons(given: Recipe, data: Cifar10, taught: Teacher | None = None) -> Lessons:
    """All training images that the recipe takes."""
    count = given.train_images or len(data.x_train)
    return Lessons(torch.from_numpy(data.x_train[:count]), torch.from_numpy(data.y_train[:count]), given.seed, taught)


def assert_same_weights(a: nn.Module | Mapping[str, torch.Tensor], b: nn.Module | Mapping[str, torch.Tensor]) -> None:
    """Equal to the bit, under the same names."""
    first, second = (m.state_dict() if isinstance(m, nn.Module) else m for m in (a, b))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def timeless(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Metrics without the seconds."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


class Interrupted(Exception):
    """What a test stops a run with."""


def interrupt_after(monkeypatch: Any, epochs: int) -> Callable[[], None]:
    """Make training stop right after so many epochs were kept, counted over all stages."""
    from train import loop

    kept, count = loop._keep, 0

    def keep(*args: Any) -> None:
        nonlocal count
        kept(*args)
        count += 1
        if count == epochs:
            raise Interrupted

    monkeypatch.setattr(loop, "_keep", keep)
    return monkeypatch.undo
