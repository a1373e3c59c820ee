"""The loop: exact resume, faults that stop with a reason and keep the last good state, metrics on disk."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import random_images
from train import checkpoint
from train.data import Cifar10
from train.functions import BSpline
from train.loop import Stage, TrainingError, accuracy, batches, epoch_generator, learning_rate, predict, regularisation, run_stage
from train.quantized import QuantResMLP, calibrate, quantize
from train.recipe import Recipe, StageConfig, validate
from train.resmlp import ResMLP, absorb

EPOCHS = 4


@pytest.fixture(scope="module")
def data() -> Cifar10:
    rng = np.random.default_rng(0)
    return Cifar10(random_images(48, seed=0), rng.integers(0, 10, 48), random_images(20, seed=1), rng.integers(0, 10, 20))


def recipe(activation: str = "lerp_psa", **changes: object) -> Recipe:
    stage = {"epochs": EPOCHS, "batch": 16, "learning_rate": 1e-3}
    return validate(Recipe, {
        "name": "tiny", "model": {"activation": activation, "embed": 8, "hidden": 8, "blocks": 1, "grid": 16, "expansion": 2},
        "float_training": stage, "quantized_training": stage, **changes,
    }, "test")  # fmt: skip


def float_model(given: Recipe) -> ResMLP:
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    return ResMLP(given.model.architecture())


def quantized_model(given: Recipe) -> QuantResMLP:
    model = quantize(absorb(float_model(given).eval()))
    calibrate(model, random_images(48, seed=0), seed=0, batch=16)
    return model


MAKERS = {"float": (float_model, 0), "quantized": (quantized_model, 1)}


def train(name: str, given: Recipe, data: Cifar10, folder: Path, *, resume: bool = False, stop_after: int | None = None):
    """(the model after this call, its rows)."""
    folder.mkdir(exist_ok=True)
    make, number = MAKERS[name]
    model = make(given)
    config = given.float_training if name == "float" else given.quantized_training
    rows = run_stage(Stage(name, config, model, number), given, data, folder, resume=resume, compile_model=False, stop_after=stop_after)
    return model, rows


def assert_same_weights(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("activation", ["lerp_psa", "relu", "bspline"])
def test_two_epochs_and_two_more_equal_four_bit_for_bit(tmp_path: Path, data: Cifar10, activation: str, name: str) -> None:
    given = recipe(activation)
    whole, rows = train(name, given, data, tmp_path / "whole")
    train(name, given, data, tmp_path / "parts", stop_after=2)
    torch.manual_seed(12345)  # what happened in between does not matter
    resumed, resumed_rows = train(name, given, data, tmp_path / "parts", resume=True)
    assert_same_weights(whole, resumed)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in r] for r in (rows, resumed_rows)]
    assert timeless[0] == timeless[1]
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4]
    stored = [checkpoint.load(tmp_path / folder / f"last_{name}.pt") for folder in ("whole", "parts")]
    for key in ("model", "optimizer"):
        torch.testing.assert_close(stored[0][key], stored[1][key], rtol=0, atol=0)


def test_training_again_gives_the_same_and_another_seed_another(tmp_path: Path, data: Cifar10) -> None:
    first, _ = train("float", recipe(), data, tmp_path / "a", stop_after=1)
    again, _ = train("float", recipe(), data, tmp_path / "b", stop_after=1)
    other, _ = train("float", recipe(seed=1), data, tmp_path / "c", stop_after=1)
    assert_same_weights(first, again)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_finished_run_that_is_resumed_trains_no_more(tmp_path: Path, data: Cifar10) -> None:
    whole, rows = train("float", recipe(), data, tmp_path)
    resumed, resumed_rows = train("float", recipe(), data, tmp_path, resume=True)
    assert_same_weights(whole, resumed)
    assert resumed_rows == rows


def test_training_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = (random_images(200, seed=0) // 4 + 150 * labels[:, None, None, None]).astype(np.uint8)  # dark or bright
    simple = Cifar10(images[:160], labels[:160], images[160:], labels[160:])
    given = recipe("relu", float_training={"epochs": 8, "batch": 16, "learning_rate": 1e-2, "randaugment": False})
    _, rows = train("float", given, simple, tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["top1"] > 90


def poison(model: torch.nn.Module, at: str) -> None:
    dict(model.named_parameters())[at].data.view(-1)[0] = float("nan")


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_loss_of_nan_stops_with_the_recipes_name_and_keeps_the_last_good_state(
    tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    given = recipe()
    model = float_model(given)
    stage = Stage("float", given.float_training, model, 0)
    if epoch > 1:
        run_stage(stage, given, data, tmp_path, resume=False, compile_model=False, stop_after=epoch - 1)
    good = {k: v.clone() for k, v in model.state_dict().items()}
    step = torch.optim.AdamW.step

    def poisoned_step(self, *args, **options):
        result = step(self, *args, **options)
        poison(model, "embed.weight")
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", poisoned_step)
    with pytest.raises(TrainingError) as error:
        run_stage(stage, given, data, tmp_path, resume=epoch > 1, compile_model=False)
    message = str(error.value)
    assert "\n" not in message
    for word in ("tiny", "nan", "float", f"epoch {epoch}"):
        assert word in message
    last = tmp_path / "last_float.pt"
    if epoch == 1:
        assert not last.exists() and str(last) not in message
    else:
        assert str(last) in message
        assert all(torch.equal(v, good[k]) for k, v in checkpoint.load(last)["model"].items())


def test_a_nan_in_the_first_step_is_told_with_the_step(tmp_path: Path, data: Cifar10) -> None:
    given = recipe()
    model = float_model(given)
    poison(model, "head.weight")
    with pytest.raises(TrainingError, match=r"^tiny: loss is nan at float epoch 1, step 0"):
        run_stage(Stage("float", given.float_training, model, 0), given, data, tmp_path, resume=False, compile_model=False)


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"model": {"hidden": 12}}, {"float_training": {"epochs": 5, "batch": 16}}, {"train_images": 32}]
)
def test_another_recipe_is_not_continued(tmp_path: Path, data: Cifar10, changes: dict) -> None:
    train("float", recipe(), data, tmp_path, stop_after=1)
    before = (tmp_path / "last_float.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"last_float.pt: belongs to another recipe; .*without --resume"):
        train("float", recipe(**changes), data, tmp_path, resume=True)
    assert (tmp_path / "last_float.pt").read_bytes() == before


def test_a_damaged_state_is_not_continued(tmp_path: Path, data: Cifar10) -> None:
    train("float", recipe(), data, tmp_path, stop_after=1)
    path = tmp_path / "last_float.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(checkpoint.CheckpointError, match=r"last_float\.pt: not a readable checkpoint"):
        train("float", recipe(), data, tmp_path, resume=True)


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path, data: Cifar10) -> None:
    with pytest.raises(TrainingError, match="tiny: 10 training images are fewer than one batch of 16"):
        train("float", recipe(train_images=10), data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_metrics_are_written_after_every_epoch(tmp_path: Path, data: Cifar10) -> None:
    _, rows = train("float", recipe(), data, tmp_path, stop_after=3)
    with (tmp_path / "float.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in written] == rows
    assert list(written[0]) == ["epoch", "loss", "top1", "seconds"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["float.csv", "last_float.pt"]


def test_batches_cover_every_image_once_in_a_new_order() -> None:
    images = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 32, 3).contiguous()
    labels = torch.arange(50)
    config = StageConfig(batch=16, randaugment=False)
    orders = [[y.tolist() for _, y in batches(images, labels, config, epoch_generator(0, 0, e, torch.device("cpu")))] for e in (0, 1, 0)]
    assert all([len(b) for b in order] == [16, 16, 16] for order in orders)
    assert all(len({i for b in order for i in b}) == 48 for order in orders)
    assert orders[0] == orders[2] != orders[1]


def test_every_epoch_of_every_stage_draws_from_its_own_generator() -> None:
    seeds = {epoch_generator(seed, stage, epoch, torch.device("cpu")).initial_seed()
             for seed in range(3) for stage in range(3) for epoch in range(50)}  # fmt: skip
    assert len(seeds) == 3 * 3 * 50


def test_the_learning_rate_is_a_cosine() -> None:
    config = StageConfig(learning_rate=1e-3, final_learning_rate=1e-5)
    assert learning_rate(config, 0.0) == 1e-3
    assert math.isclose(learning_rate(config, 0.5), (1e-3 + 1e-5) / 2)
    assert math.isclose(learning_rate(config, 1.0), 1e-5)


def test_bsplines_are_regularised() -> None:
    model = torch.nn.Sequential(BSpline(3, knots=9), torch.nn.ReLU(), BSpline(2, knots=9))
    expected = 0.5 * (model[0].total_variation() + model[2].total_variation())
    assert torch.equal(regularisation(model, StageConfig(tv2=0.5)), expected)
    assert regularisation(model, StageConfig(tv2=0)) == regularisation(torch.nn.ReLU(), StageConfig()) == 0


def test_prediction_does_not_depend_on_the_batch_and_leaves_no_trace(data: Cifar10) -> None:
    model = float_model(recipe()).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    whole, parts = predict(model, data.x_test), predict(model, data.x_test, batch=7)
    assert whole.shape == (20, 10)
    torch.testing.assert_close(whole, parts)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    expected = 100.0 * (whole.argmax(1).numpy() == data.y_test).mean()
    assert accuracy(model, data.x_test, data.y_test) == expected


def test_a_stage_does_not_touch_the_callers_images(tmp_path: Path, data: Cifar10) -> None:
    before = {f.name: getattr(data, f.name).copy() for f in dataclasses.fields(data)}
    train("float", recipe(), data, tmp_path, stop_after=1)
    assert all((getattr(data, name) == value).all() for name, value in before.items())
