"""The loop: exact resume, what every setting does, learning rates and batches."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import random_images
from tests.train import tiny
from tests.train.stages import EPOCHS, float_model, recipe, train
from tests.train.tiny import assert_same_weights, timeless
from train import checkpoint, loop
from train.data import Cifar10
from train.distill import Lessons
from train.functions import BSpline
from train.loop import accuracy, batches, epoch_generator, learning_rate, predict, regularisation
from train.recipe import StageConfig


@pytest.fixture(scope="module")
def data() -> Cifar10:
    return tiny.images()


MIXED = {"ema": 0.7, "mix": "cutmix", "warmup": 0.3, "weight_decay": 0.1, "label_smoothing": 0.1, "views": 3}
RESUMED = {
    "lerp_psa": ("float", "lerp_psa", False, {}),
    "relu": ("float", "relu", False, {}),
    "bspline": ("float", "bspline", False, {}),
    "muon": ("float", "lerp_psa", False, {"optimizer": "muon"}),
    "sgd": ("float", "lerp_psa", False, {"optimizer": "sgd"}),
    "ema": ("float", "lerp_psa", False, {"ema": 0.7}),
    "mixup": ("float", "lerp_psa", False, {"mix": "mixup"}),
    "cutmix": ("float", "lerp_psa", False, {"mix": "cutmix"}),
    "bfloat16": ("float", "lerp_psa", False, {"precision": "bfloat16"}),
    "teacher": ("float", "lerp_psa", True, {}),
    "everything": ("float", "lerp_psa", True, MIXED | {"optimizer": "muon"}),
    "transfer": ("transfer", "lerp_psa", True, {}),
    "transfer, relu": ("transfer", "relu", True, {}),
    "transfer, muon": ("transfer", "lerp_psa", True, {"optimizer": "muon"}),
    "transfer, sgd": ("transfer", "lerp_psa", True, {"optimizer": "sgd"}),
    "transfer, ema": ("transfer", "lerp_psa", True, {"ema": 0.7}),
    "quantized": ("quantized", "lerp_psa", False, {}),
    "quantized, muon": ("quantized", "lerp_psa", False, {"optimizer": "muon"}),
    "quantized, sgd": ("quantized", "lerp_psa", False, {"optimizer": "sgd"}),
    "quantized, everything": ("quantized", "lerp_psa", True, MIXED | {"optimizer": "muon"}),
}


@pytest.mark.parametrize(("kind", "activation", "taught", "changes"), RESUMED.values(), ids=RESUMED)
def test_two_epochs_and_two_more_equal_four_bit_for_bit(
    tmp_path: Path, data: Cifar10, kind: str, activation: str, taught: bool, changes: dict
) -> None:
    given = recipe(activation, kind, **changes)
    whole, rows = train(kind, given, data, tmp_path / "whole", taught=taught)
    train(kind, given, data, tmp_path / "parts", taught=taught, stop_after=2)
    torch.manual_seed(12345)  # what happened in between does not matter
    resumed, resumed_rows = train(kind, given, data, tmp_path / "parts", taught=taught, resume=True)
    assert_same_weights(whole, resumed)
    assert timeless(rows) == timeless(resumed_rows)
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4]
    name = "transfer_0" if kind == "transfer" else kind
    stored = [checkpoint.load(tmp_path / folder / f"last_{name}.pt") for folder in ("whole", "parts")]
    for key in ("model", "average") if "ema" in changes else ("model",):
        assert_same_weights(stored[0][key], stored[1][key])
    for first, second in zip(*(state["optimizer"] for state in stored), strict=True):
        torch.testing.assert_close(first["state"], second["state"], rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"optimizer": "sgd"}, {"ema": 0.7}, {"mix": "mixup"}, {"mix": "cutmix"},
                                     {"warmup": 0.5}, {"weight_decay": 0.5}, {"views": 1}, {"label_smoothing": 0.1}, {"randaugment": False},
                                     {"precision": "bfloat16"}, {"learning_rate": 2e-3}], ids=str)  # fmt: skip
def test_every_setting_of_a_stage_changes_what_is_trained(tmp_path: Path, data: Cifar10, changes: dict) -> None:
    usual, _ = train("float", recipe(), data, tmp_path / "a")
    other, _ = train("float", recipe(**changes), data, tmp_path / "b")
    assert not torch.equal(usual.state_dict()["embed.weight"], other.state_dict()["embed.weight"])


@pytest.mark.parametrize("changes", [{"teacher_share": 0.5}, {"temperature": 2.0}], ids=str)
def test_every_setting_of_distillation_changes_what_is_trained(tmp_path: Path, data: Cifar10, changes: dict) -> None:
    models = [train("float", recipe(**c), data, tmp_path / str(i), taught=t)[0]
              for i, (c, t) in enumerate([({}, False), ({}, True), (changes, True)])]  # fmt: skip
    weights = [m.state_dict()["embed.weight"] for m in models]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_training_again_gives_the_same_and_another_seed_another(tmp_path: Path, data: Cifar10) -> None:
    first, _ = train("float", recipe(), data, tmp_path / "a", stop_after=1)
    again, _ = train("float", recipe(), data, tmp_path / "b", stop_after=1)
    other, _ = train("float", recipe().model_copy(update={"seed": 1}), data, tmp_path / "c", stop_after=1)
    assert_same_weights(first, again)
    assert not torch.equal(first.state_dict()["head.weight"], other.state_dict()["head.weight"])


@pytest.mark.parametrize("ema", [0.0, 0.7])
def test_a_finished_run_that_is_resumed_trains_no_more(tmp_path: Path, data: Cifar10, ema: float) -> None:
    given = recipe(ema=ema)
    whole, rows = train("float", given, data, tmp_path)
    before = (tmp_path / "last_float.pt").read_bytes()
    resumed, resumed_rows = train("float", given, data, tmp_path, resume=True)
    assert_same_weights(whole, resumed)
    assert resumed_rows == rows
    assert (tmp_path / "last_float.pt").read_bytes() == before


def test_the_kept_weights_are_the_moving_average_of_every_step(tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    given = recipe(ema=0.7)
    expected = {k: v.double() for k, v in float_model(given).state_dict().items()}
    plain = loop._average

    def spied(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
        plain(average, model, decay)
        for name, value in model.state_dict().items():
            expected[name] = 0.7 * expected[name] + 0.3 * value.double() if value.is_floating_point() else value.double()

    monkeypatch.setattr(loop, "_average", spied)
    model, rows = train("float", given, data, tmp_path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-6)
    assert model.state_dict()["norm.num_batches_tracked"] == 3 * EPOCHS  # a count is not averaged
    assert rows[-1]["top1"] == accuracy(model, data.x_test, data.y_test)
    last = checkpoint.load(tmp_path / "last_float.pt")
    assert_same_weights(model, last["average"])
    assert not torch.equal(last["model"]["embed.weight"], last["average"]["embed.weight"])


def test_training_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    images = (random_images(200, seed=0) // 4 + 150 * labels[:, None, None, None]).astype(np.uint8)  # dark or bright
    simple = Cifar10(images[:160], labels[:160], images[160:], labels[160:])
    given = recipe("relu", epochs=8, learning_rate=1e-2, randaugment=False)
    _, rows = train("float", given, simple, tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["top1"] > 90


def all_lessons(config: StageConfig, epoch: int, count: int = 50) -> list[list[int]]:
    """The labels of every batch, each the number of its image."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 32, 3).contiguous()
    generator = epoch_generator(0, 0, epoch, torch.device("cpu"))
    got = list(batches(Lessons(images, torch.arange(count), 0), config, generator, epoch))
    assert all((x.amax((1, 2, 3)) == y).all() for x, y, _ in got)  # crops bring in zeros, nothing else
    return [y.tolist() for _, y, _ in got]


def test_batches_cover_every_image_once_in_a_new_order() -> None:
    config = StageConfig(batch=16, randaugment=False)
    orders = [all_lessons(config, epoch) for epoch in (0, 1, 0)]
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


def test_the_learning_rate_warms_up_linearly_to_its_peak() -> None:
    config = StageConfig(learning_rate=1e-3, final_learning_rate=1e-5, warmup=0.2)
    assert learning_rate(config, 0.0) == 1e-5
    assert math.isclose(learning_rate(config, 0.1), (1e-3 + 1e-5) / 2)
    assert math.isclose(learning_rate(config, 0.2), 1e-3)
    assert math.isclose(learning_rate(config, 0.6), (1e-3 + 1e-5) / 2)
    assert math.isclose(learning_rate(config, 1.0), 1e-5)


def test_the_learning_rate_of_a_row_is_that_of_the_epochs_last_step(tmp_path: Path, data: Cifar10) -> None:
    given = recipe(warmup=0.25)
    _, rows = train("float", given, data, tmp_path)
    assert [row["learning_rate"] for row in rows] == [learning_rate(given.stages["float"], step / 12) for step in (2, 5, 8, 11)]


def test_a_stage_does_not_touch_the_callers_images(tmp_path: Path, data: Cifar10) -> None:
    before = {f.name: getattr(data, f.name).copy() for f in dataclasses.fields(data)}
    train("float", recipe(), data, tmp_path, stop_after=1)
    assert all((getattr(data, name) == value).all() for name, value in before.items())
