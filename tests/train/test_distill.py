"""What a student learns from: the loss, the mixing of images, and a teacher's answers that are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.train import tiny
from train.checkpoint import CheckpointError
from train.distill import Lessons, Teacher, distillation_loss, mix_images
from train.recipe import StageConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cross_entropy(targets: np.ndarray, z: np.ndarray) -> float:
    return float(-(targets * (z - np.log(np.exp(z).sum()))).sum())


def plainly(logits: Tensor, labels: Tensor, answers: Tensor | None, share: Tensor | None, config: StageConfig) -> float:
    """The loss image by image in double precision: what the words of the recipe say."""

    def target(index: int) -> tuple[np.ndarray, np.ndarray | None]:
        hard = np.full(10, config.label_smoothing / 10)
        hard[labels[index]] += 1 - config.label_smoothing
        if answers is None:
            return hard, None
        soft = np.exp(answers[index].double().numpy() / config.temperature)
        return hard, soft / soft.sum()

    losses = []
    for i in range(len(labels)):
        hard, soft = target(i)
        if share is not None:
            other_hard, other_soft = target(i - 1)
            own = float(share[i])
            hard = own * hard + (1 - own) * other_hard
            soft = None if soft is None or other_soft is None else own * soft + (1 - own) * other_soft

        z = logits[i].double().numpy()
        loss = cross_entropy(hard, z)
        if soft is not None:
            t = config.temperature
            loss = config.teacher_share * t * t * cross_entropy(soft, z / t) + (1 - config.teacher_share) * loss
        losses.append(loss)
    return float(np.mean(losses))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("share", "temperature"), [(None, 1.0), (0.8, 1.0), (0.5, 4.0), (1.0, 0.5), (0.0, 1.0)])
def test_the_loss_is_its_formula(share: float | None, temperature: float, smoothing: float, mixed: bool) -> None:
    torch.manual_seed(0)
    logits, answers, labels = torch.randn(7, 10) * 3, torch.randn(7, 10) * 3, torch.randint(0, 10, (7,))
    shares = torch.rand(7) if mixed else None
    config = StageConfig(teacher_share=share if share is not None else 0.8, temperature=temperature, label_smoothing=smoothing)
    given = (logits, labels, None if share is None else answers, shares, config)
    assert distillation_loss(*given).item() == pytest.approx(plainly(*given), rel=1e-5)


def test_a_student_that_says_what_its_teacher_says_has_no_gradient() -> None:
    torch.manual_seed(0)
    answers = torch.randn(5, 10, dtype=torch.float64)
    logits = answers.clone().requires_grad_()
    distillation_loss(logits, torch.zeros(5, dtype=torch.long), answers, None, StageConfig(teacher_share=1.0, temperature=3.0)).backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(answers), rtol=0, atol=1e-12)


def coloured(batch: int) -> Tensor:
    """Images of one colour each, the number of the image."""
    return torch.arange(batch, dtype=torch.uint8)[:, None, None, None].expand(-1, 32, 32, 3).contiguous()


def test_mixup_blends_with_the_next_image_at_its_share() -> None:
    x = torch.randint(0, 256, (40, 32, 32, 3), dtype=torch.uint8, generator=generator(1))
    mixed, share = mix_images(x, StageConfig(mix="mixup"), generator())
    expected = share.view(-1, 1, 1, 1) * x.float() + (1 - share.view(-1, 1, 1, 1)) * x[[-1, *range(39)]].float()
    torch.testing.assert_close(mixed, expected)
    assert share.min() >= 0 and share.max() <= 1 and share.std() > 0.2


def test_cutmix_puts_in_one_rectangle_and_its_share_is_the_pixels_left() -> None:
    batch = 200
    mixed, share = mix_images(coloured(batch), StageConfig(mix="cutmix"), generator())
    own = torch.arange(batch)[:, None, None, None]
    kept, taken = mixed == own, mixed == (own - 1) % batch
    assert (kept | taken).all()
    assert (share == kept[..., 0].float().mean((1, 2))).all()
    for image in taken[..., 0]:
        rows, columns = image.any(1), image.any(0)
        assert (image == rows[:, None] & columns[None]).all()
        for line in (rows, columns):
            assert (line.int().diff() != 0).sum() <= 2
            edges = line.nonzero().flatten()
            assert not len(edges) or len(edges) == edges[-1] - edges[0] + 1
    assert share.min() < 0.3 and share.max() > 0.95


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_follows_its_generator(mix: str) -> None:
    config = StageConfig.model_validate({"mix": mix})
    first, again, other = (mix_images(coloured(8), config, generator(seed))[1] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.fixture
def images() -> Tensor:
    return torch.from_numpy(tiny.images().x_train)


def lessons(images: Tensor, folder: Path, seed: int = 0, teacher_seed: int = 7) -> Lessons:
    return Lessons(images, torch.zeros(len(images), dtype=torch.long), seed, tiny.teacher(folder, teacher_seed))


def kept(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_answers_are_the_teachers_logits_of_the_augmented_images(tmp_path: Path, images: Tensor) -> None:
    given = lessons(images, tmp_path)
    augmented, answers = given.epoch(StageConfig(), 0)
    assert given.teacher is not None and not given.teacher.model.training
    with torch.no_grad():
        exact = given.teacher.model(augmented)
    assert answers is not None and answers.dtype == torch.float32 and answers.shape == (48, 10)
    torch.testing.assert_close(answers, exact, rtol=0.05, atol=0.05)  # bfloat16 products, kept as float16
    assert torch.equal(answers, given.teacher.ask(augmented))
    assert not torch.equal(augmented, images)


def test_kept_answers_are_read_and_the_teacher_is_not_asked_again(tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    augmented, answers = lessons(images, tmp_path).epoch(StageConfig(), 0)
    (path,) = kept(tmp_path)
    assert path.suffix == ".npy" and np.load(path).dtype == np.float16
    np.save(path, np.load(path) + np.float16(1))
    monkeypatch.setattr(Teacher, "ask", lambda *_: pytest.fail("asked"))
    again, changed = lessons(images, tmp_path).epoch(StageConfig(), 0)  # another student
    assert torch.equal(again, augmented)
    assert changed is not None and answers is not None
    assert torch.equal(changed, (answers.half() + 1).float())
    assert kept(tmp_path) == [path]


@pytest.mark.parametrize("other", ["weights", "seed", "images", "augmentation", "epoch"])
def test_answers_of_another_kind_are_asked_for(tmp_path: Path, images: Tensor, other: str) -> None:
    _, answers = lessons(images, tmp_path).epoch(StageConfig(), 0)
    given = lessons(images.flip(0) if other == "images" else images, tmp_path, seed=int(other == "seed"),
                    teacher_seed=8 if other == "weights" else 7)  # fmt: skip
    _, different = given.epoch(StageConfig(randaugment=other != "augmentation"), int(other == "epoch"))
    assert len(kept(tmp_path)) == 2
    assert answers is not None and different is not None and not torch.equal(answers, different)


def test_views_come_again_in_turn(tmp_path: Path, images: Tensor) -> None:
    given = lessons(images, tmp_path)
    config = StageConfig(views=2)
    seen = [given.epoch(config, epoch) for epoch in range(4)]
    for first, second in ((0, 2), (1, 3)):
        assert torch.equal(seen[first][0], seen[second][0]) and torch.equal(seen[first][1], seen[second][1])  # type: ignore[arg-type]
    assert not torch.equal(seen[0][0], seen[1][0])
    assert len(kept(tmp_path)) == 2
    endless = [given.epoch(StageConfig(), epoch)[0] for epoch in range(4)]
    assert torch.equal(endless[0], seen[0][0]) and not torch.equal(endless[2], seen[0][0])


def test_seeds_augment_differently_and_the_same_seed_alike(tmp_path: Path, images: Tensor) -> None:
    first, again, other = (lessons(images, tmp_path, seed).epoch(StageConfig(), 0)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_teacher_without_a_share_is_not_asked(tmp_path: Path, images: Tensor) -> None:
    assert lessons(images, tmp_path).epoch(StageConfig(teacher_share=0), 0)[1] is None
    assert not kept(tmp_path)


def test_asking_a_teacher_leaves_it_as_it_was(tmp_path: Path, images: Tensor) -> None:
    given = lessons(images, tmp_path)
    assert given.teacher is not None
    before = {k: v.clone() for k, v in given.teacher.model.state_dict().items()}
    given.epoch(StageConfig(), 0)
    tiny.assert_same_weights(given.teacher.model, before)
    assert not any(p.requires_grad for p in given.teacher.model.parameters())


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "short", "a pickle"])
def test_damaged_answers_are_told_in_one_line(tmp_path: Path, images: Tensor, damage: str) -> None:
    lessons(images, tmp_path).epoch(StageConfig(), 0)
    (path,) = kept(tmp_path)
    content = path.read_bytes()
    if damage == "short":
        np.save(path, np.load(path)[:5])
    elif damage == "a pickle":
        np.save(path, np.array([{}]), allow_pickle=True)
    else:
        path.write_bytes({"cut": content[:200], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(CheckpointError) as error:
        lessons(images, tmp_path).epoch(StageConfig(), 0)
    assert str(error.value) == f"{path}: damaged answers of a teacher; delete the file, they are asked for again"


def test_answers_that_cannot_be_kept_are_told_in_one_line_and_leave_nothing(
    tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match=r"\.npy: could not be written \(No space left on device\); make room"):
        lessons(images, tmp_path).epoch(StageConfig(), 0)
    assert not kept(tmp_path)
