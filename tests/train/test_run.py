"""A recipe from start to end and tables of them: stopped anywhere they continue to the same result, and nothing is done twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.train import tiny
from tests.train.tiny import assert_same_weights
from train import checkpoint, loop, run
from train.data import Cifar10
from train.functions import BSpline
from train.loop import TrainingError, accuracy
from train.recipe import Recipe
from train.run import Metrics, load_float, load_quantized, train_recipe, train_table

STAGES = {
    "transfer": {"kind": "transfer", "epochs": 1, "batch": 16},
    "distill": {"epochs": 2, "batch": 16, "optimizer": "muon", "ema": 0.7, "mix": "cutmix", "views": 1},
    "finish": {"epochs": 1, "batch": 16, "optimizer": "sgd", "randaugment": False},
    "quantized": {"kind": "quantized", "epochs": 2, "batch": 16, "learning_rate": 1e-4, "ema": 0.5, "mix": "mixup"},
}
TRANSFERRED = 2  # blocks, one epoch each
EPOCHS = TRANSFERRED + 2 + 1 + 2


@pytest.fixture(scope="module")
def data() -> Cifar10:
    return tiny.images()


@pytest.fixture(scope="module")
def wise(tmp_path_factory: pytest.TempPathFactory, data: Cifar10) -> Path:
    """A trained teacher of two blocks."""
    return tiny.teacher_checkpoint(data, tmp_path_factory.mktemp("wise"), blocks=2)


def student(**changes: object) -> Recipe:
    return tiny.recipe(STAGES, model={"blocks": 2}, teacher="wise", **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Cifar10, wise: Path) -> Path:
    """The checkpoint of the student, trained without a pause."""
    return train_recipe(student(), data, tmp_path_factory.mktemp("whole"), teacher=wise, compile_model=False)[0]


@pytest.mark.parametrize("epochs", [1, TRANSFERRED + 1, EPOCHS - 1, EPOCHS])
def test_a_recipe_stopped_after_any_epoch_continues_to_the_same_bits(
    tmp_path: Path, data: Cifar10, wise: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    tiny.interrupt_after(monkeypatch, epochs)
    with pytest.raises(tiny.Interrupted):
        train_recipe(student(), data, tmp_path, teacher=wise, compile_model=False)
    monkeypatch.undo()
    assert not (tmp_path / "tiny.pt").exists()
    assert sum(len(checkpoint.load(p)["rows"]) for p in tmp_path.glob("last_*.pt")) == epochs
    path, metrics = train_recipe(student(), data, tmp_path, teacher=wise, resume=True, compile_model=False)
    first, second = checkpoint.load(whole), checkpoint.load(path)
    for part in ("float", "quantized"):
        assert_same_weights(first[part], second[part])
    assert second["metrics"] == first["metrics"] == vars(metrics)
    assert {k: tiny.timeless(v) for k, v in first["history"].items()} == {k: tiny.timeless(v) for k, v in second["history"].items()}


def test_a_checkpoint_holds_what_was_measured(whole: Path, data: Cifar10) -> None:
    content = checkpoint.load(whole)
    assert Recipe.model_validate(content["recipe"]) == student()
    assert list(content["history"]) == ["transfer_0", "transfer_1", "distill", "finish", "quantized"]
    floating, quantized = load_float(whole)[0], load_quantized(whole)[0]
    assert not floating.training and not quantized.training
    expected = Metrics(accuracy(floating, data.x_test, data.y_test), 20, accuracy(quantized, data.x_test, data.y_test))
    assert Metrics(**content["metrics"]) == expected
    assert content["metrics"]["int8_top1"] == content["history"]["quantized"][-1]["top1"]
    for picture in ("history.png", "functions.png"):
        assert (whole.parent / picture).read_bytes().startswith(b"\x89PNG")


def test_a_recipe_without_a_quantized_stage_measures_float_alone(tmp_path: Path, data: Cifar10) -> None:
    path, metrics = train_recipe(tiny.teacher_recipe(), data, tmp_path, compile_model=False)
    content = checkpoint.load(path)
    assert metrics.int8_top1 is None and content["metrics"] == {"float_top1": metrics.float_top1, "test_images": 20}
    assert "quantized" not in content and not (tmp_path / "functions.png").exists()  # nothing was learned per channel
    with pytest.raises(checkpoint.CheckpointError, match="float weights without quantizers"):
        load_quantized(path)


@pytest.mark.parametrize("model", [{"kind": "cnn", "width": 4}, {"activation": "bspline"}, {"activation": "psa"}], ids=str)
def test_every_kind_of_network_trains_and_loads(tmp_path: Path, data: Cifar10, model: dict) -> None:
    given = tiny.recipe({"float": {"epochs": 1, "batch": 16, "optimizer": "sgd"}}, model=model)
    path, metrics = train_recipe(given, data, tmp_path, compile_model=False)
    loaded, _ = load_float(path)
    assert accuracy(loaded, data.x_test, data.y_test) == metrics.float_top1
    assert any(isinstance(m, BSpline) for m in loaded.modules()) == (model.get("activation") == "bspline")


def test_only_the_first_training_images_are_taken(tmp_path: Path, data: Cifar10) -> None:
    fewer = Cifar10(data.x_train[:32], data.y_train[:32], data.x_test, data.y_test)
    a, _ = train_recipe(tiny.recipe({"float": tiny.FLOAT, "q": tiny.QUANTIZED}), fewer, tmp_path / "a", compile_model=False)
    b, _ = train_recipe(tiny.recipe({"float": tiny.FLOAT, "q": tiny.QUANTIZED}, train_images=32), data, tmp_path / "b", compile_model=False)
    for part in ("float", "quantized"):
        assert_same_weights(checkpoint.load(a)[part], checkpoint.load(b)[part])


def test_a_run_is_never_overwritten(tmp_path: Path, data: Cifar10, whole: Path) -> None:
    before = {p: p.read_bytes() for p in whole.parent.glob("*.pt")}
    with pytest.raises(TrainingError, match=r": holds a run already; continue it with --resume or name another folder with --out$"):
        train_recipe(tiny.recipe(), data, whole.parent, compile_model=False)
    assert {p: p.read_bytes() for p in whole.parent.glob("*.pt")} == before


REFUSED = {
    "no teacher": (student(), "tiny: learns from 'wise'; name its checkpoint with --teacher, or train it first"),
    "a later stage's batch": (
        tiny.recipe({"a": tiny.FLOAT, "b": {"batch": 64}}),
        "tiny: 48 training images are fewer than one batch of 64 (stages.b.batch)",
    ),
    "too few images": (
        tiny.recipe({"a": {"batch": 20}}, train_images=19),
        "tiny: 19 training images are fewer than one batch of 20 (stages.a.batch)",
    ),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused_before_any_epoch(tmp_path: Path, data: Cifar10, given: Recipe, says: str) -> None:
    with pytest.raises(TrainingError) as error:
        train_recipe(given, data, tmp_path / "run", compile_model=False)
    assert str(error.value) == says
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_no_checkpoint_is_refused_before_any_epoch(tmp_path: Path, data: Cifar10) -> None:
    (tmp_path / "wise.pt").write_text("hello")
    with pytest.raises(checkpoint.CheckpointError, match=r"wise\.pt: not a readable checkpoint"):
        train_recipe(student(), data, tmp_path / "run", teacher=tmp_path / "wise.pt", compile_model=False)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_is_full_at_the_end_is_one_line_and_the_run_can_be_finished(
    tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save

    def full(path: Path, content: dict) -> None:
        if path.name == "tiny.pt":
            raise OSError(28, "No space left on device")
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(TrainingError) as error:
        train_recipe(tiny.recipe(), data, tmp_path, compile_model=False)
    reason = "could not be written (No space left on device); make room and finish it with --resume"
    assert str(error.value) == f"tiny: {tmp_path / 'tiny.pt'} or its pictures {reason}"
    monkeypatch.undo()
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained again"))
    train_recipe(tiny.recipe(), data, tmp_path, resume=True, compile_model=False)
    assert (tmp_path / "tiny.pt").exists()


def cells() -> list[Recipe]:
    """A teacher and two students, in a table's order."""
    stages = {"float": {"epochs": 2, "batch": 16}}
    return [
        tiny.teacher_recipe(),
        *(tiny.recipe(stages, name=name, teacher="wise", model={"activation": name}) for name in ("relu", "bspline")),
    ]


def nowhere(name: str) -> Path | None:
    return None


def train_cells(data: Cifar10, out: Path, recipes: list[Recipe] | None = None) -> dict[str, Metrics]:
    return train_table(recipes or cells(), data, out, compile_model=False, found=nowhere)


def weights(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {r.name: checkpoint.load(out / r.name / f"{r.name}.pt")["float"] for r in cells()}


@pytest.mark.parametrize("epochs", range(1, 6))
def test_a_table_stopped_anywhere_continues_to_the_same_bits(
    tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    results = train_cells(data, tmp_path / "whole")
    assert list(results) == ["wise", "relu", "bspline"]
    tiny.interrupt_after(monkeypatch, epochs)
    with pytest.raises(tiny.Interrupted):
        train_cells(data, tmp_path / "parts")
    monkeypatch.undo()
    assert train_cells(data, tmp_path / "parts") == results
    for name, expected in weights(tmp_path / "whole").items():
        assert_same_weights(expected, weights(tmp_path / "parts")[name])


def test_a_finished_recipe_is_not_trained_again_and_a_new_one_is(tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_cells(data, tmp_path, cells()[:2])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    trained: list[str] = []
    run_stage = loop.run_stage
    monkeypatch.setattr(
        run, "run_stage", lambda stage, recipe, *a, **o: (trained.append(recipe.name), run_stage(stage, recipe, *a, **o))[1]
    )
    results = train_cells(data, tmp_path)
    assert trained == ["bspline"]
    assert {name: results[name] for name in first} == first
    assert {p: p.read_bytes() for p in before} == before


def test_students_share_their_teachers_answers(tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    train_cells(data, tmp_path, cells()[:2])
    kept = sorted((tmp_path / "answers").iterdir())
    assert len(kept) == 2  # one an epoch
    monkeypatch.setattr(run.Teacher, "ask", lambda *_: pytest.fail("asked again"))
    train_cells(data, tmp_path)
    assert sorted((tmp_path / "answers").iterdir()) == kept


def test_a_changed_recipe_does_not_continue_the_old_ones_run(tmp_path: Path, data: Cifar10) -> None:
    train_cells(data, tmp_path)
    changed = [cells()[0], cells()[1].model_copy(update={"seed": 5})]
    with pytest.raises(TrainingError, match=r"relu/last_float\.pt: belongs to another recipe"):
        train_cells(data, tmp_path, changed)


def test_a_table_takes_a_teacher_from_elsewhere_and_refuses_one_that_is_nowhere_before_any_epoch(tmp_path: Path, data: Cifar10) -> None:
    with pytest.raises(TrainingError, match=r"^bspline: learns from 'wise'; "):
        train_cells(data, tmp_path / "out", [tiny.recipe(), cells()[2]])
    assert not (tmp_path / "out").exists()
    taught = tiny.teacher_checkpoint(data, tmp_path / "wise")
    asked: list[str] = []
    results = train_table(cells()[2:], data, tmp_path / "out", compile_model=False, found=lambda name: (asked.append(name), taught)[1])
    assert list(results) == ["bspline"] and set(asked) == {"wise"}


def test_a_damaged_checkpoint_in_a_table_is_told(tmp_path: Path, data: Cifar10) -> None:
    (tmp_path / "wise").mkdir()
    (tmp_path / "wise" / "wise.pt").write_bytes(os.urandom(100))
    with pytest.raises(checkpoint.CheckpointError, match=r"wise\.pt: not a readable checkpoint"):
        train_cells(data, tmp_path)
