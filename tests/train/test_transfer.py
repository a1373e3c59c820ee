"""Block-wise transfer: what is copied, what is trained, and who cannot teach."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.train import tiny
from tests.train.tiny import assert_same_weights
from train import checkpoint
from train.data import Cifar10
from train.functions import PSA
from train.loop import Stage, run_stage
from train.recipe import ConfigError, Recipe
from train.resmlp import ResMLP
from train.run import build, train_recipe
from train.transfer import BlockTransfer, features, start_from

BLOCKS = 3


@pytest.fixture(scope="module")
def data() -> Cifar10:
    return tiny.images()


def student_recipe(**transfer: object) -> Recipe:
    stages = {"transfer": {"kind": "transfer", "epochs": 3, "batch": 16, "learning_rate": 1e-2} | transfer}
    return tiny.recipe(stages, model={"blocks": BLOCKS}, teacher="wise")


def networks() -> tuple[ResMLP, ResMLP]:
    """(student, trained-looking teacher), as a transfer starts."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    student, teacher = build(student_recipe().model), build(tiny.teacher_recipe(blocks=BLOCKS).model)
    assert isinstance(student, ResMLP) and isinstance(teacher, ResMLP)
    teacher.train()
    for seed in range(3):
        teacher(torch.from_numpy(tiny.images(seed=seed).x_train))
    teacher.eval().requires_grad_(False)
    start_from(student, teacher, "tiny")
    return student, teacher


def test_embedding_norm_and_head_are_the_teachers() -> None:
    student, teacher = networks()
    for part in ("embed", "norm", "head"):
        assert_same_weights(getattr(student, part), getattr(teacher, part))


def test_v_starts_normal_with_deviation_4() -> None:
    torch.manual_seed(0)
    student = build(tiny.recipe(model={"embed": 64, "hidden": 64, "expansion": 16}).model)
    teacher = build(tiny.teacher_recipe(embed=64).model)
    assert isinstance(student, ResMLP)
    start_from(student, teacher, "tiny")
    for function in (m for m in student.modules() if isinstance(m, PSA)):
        assert abs(function.v.mean().item()) < 0.5 and abs(function.v.std().item() - 4) < 0.3
        assert (function.q_w == 1).all() and (function.o_w == 1).all() and (function.o_b == 0).all()


def test_features_after_all_blocks_give_the_models_logits() -> None:
    student, teacher = networks()
    pixels = torch.from_numpy(tiny.images().x_test)
    for model in (student.eval(), teacher):
        with torch.no_grad():
            assert torch.equal(model.head(model.norm(features(model, pixels, BLOCKS)).mean(1)), model(pixels))


@pytest.mark.parametrize("index", range(BLOCKS))
def test_the_loss_is_the_mean_squared_error_behind_the_block(index: int) -> None:
    student, teacher = networks()
    pixels = torch.from_numpy(tiny.images().x_test)
    loss = BlockTransfer(student, teacher, index).train()(pixels)
    with torch.no_grad():
        student.eval()
        before = features(student, pixels, index)
        after = copy.deepcopy(student.blocks[index]).train()(before)
        expected = ((after - features(teacher, pixels, index + 1)) ** 2).mean()
    torch.testing.assert_close(loss, expected)


def test_only_the_block_in_training_leaves_evaluation_mode() -> None:
    student, teacher = networks()
    objective = BlockTransfer(student.train(), teacher.train(), 1)
    objective.train()
    training = {name for name, module in student.named_modules() if module.training}
    assert training == {name for name, _ in student.named_modules() if name.startswith("blocks.1")}
    assert not any(module.training for module in teacher.modules())
    assert {id(p) for p in objective.parameters()} == {id(p) for p in student.blocks[1].parameters()}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("index", range(BLOCKS))
def test_a_block_learns_and_nothing_else_changes(tmp_path: Path, data: Cifar10, index: int, optimizer: str) -> None:
    given = student_recipe(optimizer=optimizer, epochs=6, randaugment=False)
    student, teacher = networks()
    before = [copy.deepcopy(m.state_dict()) for m in (student, teacher)]
    stage = Stage(f"transfer_{index}", given.stages["transfer"], student, index, BlockTransfer(student, teacher, index), "transfer")
    rows = run_stage(stage, given, tiny.lessons(given, data), data, tmp_path, resume=False, compile_model=False)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert_same_weights(teacher, before[1])
    after = student.state_dict()
    for name, value in before[0].items():
        assert torch.equal(value, after[name]) != name.startswith(f"blocks.{index}."), name


def test_a_recipe_transfers_its_blocks_in_order(tmp_path: Path, data: Cifar10) -> None:
    taught = tiny.teacher_checkpoint(data, tmp_path / "wise", blocks=BLOCKS)
    train_recipe(student_recipe(), data, tmp_path / "tiny", teacher=taught, compile_model=False)
    states = [checkpoint.load(tmp_path / "tiny" / f"last_transfer_{i}.pt")["model"] for i in range(BLOCKS)]
    for index, (earlier, later) in enumerate(pairwise(states)):
        changed = {name.split(".")[1] for name in earlier if not torch.equal(earlier[name], later[name])}
        assert changed == {str(index + 1)}
    final = checkpoint.load(tmp_path / "tiny" / "tiny.pt")
    assert_same_weights(final["float"], states[-1])
    assert list(final["history"]) == [f"transfer_{i}" for i in range(BLOCKS)]


@pytest.mark.parametrize("model", [{"kind": "cnn", "width": 4}, {"embed": 12}, {"blocks": 2}], ids=str)
def test_a_teacher_of_another_shape_is_refused_before_any_epoch(tmp_path: Path, data: Cifar10, model: dict) -> None:
    taught = tiny.teacher_checkpoint(data, tmp_path / "wise", **{"blocks": BLOCKS} | model)
    with pytest.raises(ConfigError) as error:
        train_recipe(student_recipe(), data, tmp_path / "tiny", teacher=taught, compile_model=False)
    assert str(error.value) == "tiny: stages: a transfer needs a teacher that is a ResMLP with the student's embed and blocks"
    assert not (tmp_path / "tiny").exists()
