"""Faults stop a stage with a reason in one line and keep the last good state."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from tests.train import tiny
from tests.train.stages import recipe, stage_of, train
from tests.train.tiny import assert_same_weights, lessons
from train import checkpoint, loop
from train.data import Cifar10
from train.loop import TrainingError, run_stage


@pytest.fixture(scope="module")
def data() -> Cifar10:
    return tiny.images()


def poison(model: torch.nn.Module, at: str) -> None:
    dict(model.named_parameters())[at].data.view(-1)[0] = float("nan")


def poisoned_after(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, steps: int) -> None:
    """NaN in a weight after so many more steps of AdamW."""
    step, count = torch.optim.AdamW.step, 0

    def poisoned_step(self, *args, **options):
        nonlocal count
        result = step(self, *args, **options)
        count += 1
        if count == steps:
            poison(model, "embed.weight")
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", poisoned_step)


@pytest.mark.parametrize(
    ("epoch", "at"), [(1, 0), (1, 1), (1, 49), (1, 50), (1, 51), (1, 98), (1, 100), (1, 101), (3, 0), (3, 60), (3, 101)]
)
def test_a_loss_of_nan_is_told_with_its_step_and_leaves_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, at: int
) -> None:
    data = tiny.images(train=204)  # 102 steps an epoch, the loss is looked at every 50
    given = recipe("relu", batch=2, randaugment=False)
    material = lessons(given, data)
    stage = stage_of("float", given, material)
    if epoch > 1:
        run_stage(stage, given, material, data, tmp_path, resume=False, compile_model=False, stop_after=epoch - 1)
    good = {k: v.clone() for k, v in stage.model.state_dict().items()}
    if at:
        poisoned_after(monkeypatch, stage.model, at)
    else:
        monkeypatch.setattr(loop, "distillation_loss", lambda *a: torch.tensor(math.nan, requires_grad=True) * a[0].sum())
    with pytest.raises(TrainingError) as error:
        run_stage(stage, given, material, data, tmp_path, resume=epoch > 1, compile_model=False)
    last = tmp_path / "last_float.pt"
    state = "no epoch was finished" if epoch == 1 else f"the last good state is {last}"
    assert str(error.value) == f"tiny: loss is nan at float epoch {epoch}, step {at}; {state}"
    assert last.exists() == (epoch > 1)
    if epoch > 1:
        assert_same_weights(checkpoint.load(last)["model"], good)


def test_weights_that_the_last_step_of_an_epoch_ruins_are_not_kept(tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    given = recipe()
    material = lessons(given, data)
    stage = stage_of("float", given, material)
    poisoned_after(monkeypatch, stage.model, 6)  # three steps an epoch
    with pytest.raises(
        TrainingError, match=r"^tiny: weights are not finite after float epoch 2, step 2; the last good state is .*last_float.pt$"
    ):
        run_stage(stage, given, material, data, tmp_path, resume=False, compile_model=False)
    kept = checkpoint.load(tmp_path / "last_float.pt")
    assert len(kept["rows"]) == 1
    assert all(value.isfinite().all() for value in kept["model"].values())


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"model": {"hidden": 12}}, {"train_images": 32}, {"teacher": "other"}, {"stages": {"float": {"epochs": 5, "batch": 16}}}],
)
def test_another_recipe_is_not_continued(tmp_path: Path, data: Cifar10, changes: dict) -> None:
    stages = {"float": {"epochs": 4, "batch": 16}}
    train("float", tiny.recipe(stages, teacher="wise"), data, tmp_path, stop_after=1)
    before = (tmp_path / "last_float.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"last_float.pt: belongs to another recipe; .*without --resume"):
        train("float", tiny.recipe(**{"stages": stages, "teacher": "wise"} | changes), data, tmp_path, resume=True)
    assert (tmp_path / "last_float.pt").read_bytes() == before


def test_later_stages_may_change_before_a_run_is_continued(tmp_path: Path, data: Cifar10) -> None:
    stages = {"float": {"epochs": 4, "batch": 16}, "finish": {"epochs": 1}}
    train("float", tiny.recipe(stages), data, tmp_path, stop_after=3)
    _, rows = train("float", tiny.recipe(stages | {"finish": {"epochs": 9}, "more": {}}), data, tmp_path, resume=True)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]


def test_a_run_is_not_continued_with_other_weights_of_its_teacher(tmp_path: Path, data: Cifar10) -> None:
    given = recipe()
    train("float", given, data, tmp_path, taught=True, stop_after=1)
    material = lessons(given, data, tiny.teacher(tmp_path / "answers", seed=8))
    with pytest.raises(TrainingError, match=r"last_float.pt: learned from other weights of 'wise'; .*another folder"):
        run_stage(stage_of("float", given, material), given, material, data, tmp_path, resume=True, compile_model=False)


def test_a_damaged_state_is_not_continued(tmp_path: Path, data: Cifar10) -> None:
    train("float", recipe(), data, tmp_path, stop_after=1)
    path = tmp_path / "last_float.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(checkpoint.CheckpointError, match=r"last_float\.pt: not a readable checkpoint"):
        train("float", recipe(), data, tmp_path, resume=True)


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path, data: Cifar10) -> None:
    given = recipe().model_copy(update={"train_images": 10})
    with pytest.raises(TrainingError, match=r"^tiny: 10 training images are fewer than one batch of 16 \(stages\.float\.batch\)$"):
        train("float", given, data, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_ends_in_one_line_and_leaves_the_previous_state(
    tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    whole, _ = train("float", recipe(), data, tmp_path / "whole")
    train("float", recipe(), data, tmp_path / "full", stop_after=2)
    last = tmp_path / "full" / "last_float.pt"
    before = last.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    with pytest.raises(TrainingError) as error:
        train("float", recipe(), data, tmp_path / "full", resume=True)
    assert str(error.value) == f"tiny: {last} could not be written (No space left on device); the last good state is {last}"
    monkeypatch.undo()
    assert last.read_bytes() == before and len(checkpoint.load(last)["rows"]) == 2
    assert not list(tmp_path.rglob("*.part"))
    resumed, _ = train("float", recipe(), data, tmp_path / "full", resume=True)
    assert_same_weights(whole, resumed)
