"""What a student learns from: augmented images, labels, and a teacher's answers to the very same images.

A teacher answers a whole augmented epoch at once, and its answers are kept on disk: a run that is continued, a later
stage and other students of the same teacher and seed read them instead of asking again.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train import checkpoint, parallel
from train.augment import augment
from train.quantizers import plain
from train.recipe import StageConfig

log = logging.getLogger(__name__)
CHUNK = 1000  # images that are augmented, or answered, at a time


@dataclass
class Teacher:
    """A trained network and the folder that keeps its answers."""

    name: str
    model: nn.Module
    answers: Path
    key: str = field(init=False)  # of its weights

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        self.key = digest.hexdigest()[:12]
        self.model.eval().requires_grad_(False)

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        """Logits float32 [n, classes] of augmented images uint8 [n, H, W, 3], rounded to float16 as they are kept."""
        answers = []
        for i in range(0, len(images), CHUNK):
            with torch.autocast(images.device.type, torch.bfloat16):
                answers.append(plain(self.model(images[i : i + CHUNK])).half())
        return torch.cat(answers).float()

    def answer(self, images: Tensor, what: str) -> Tensor:
        """`ask`, or what is kept under `what`, the name of this augmentation of these images; CheckpointError where it
        cannot be kept or was damaged."""
        path = self.answers / f"{self.name}-{self.key}-{what}.npy"
        if not path.exists() and parallel.rank() == 0:
            buffer = io.BytesIO()
            np.save(buffer, self.ask(images).half().cpu().numpy())
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with checkpoint.replacing(path, f".{os.getpid()}") as temporary:
                    temporary.write_bytes(buffer.getbuffer())
            except OSError as error:
                reason = f"could not be written ({error.strerror}); make room and continue with --resume"
                raise checkpoint.CheckpointError(f"{path}: {reason}") from None
        parallel.wait()
        try:
            kept = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            kept = None
        if kept is None or kept.dtype != np.float16 or kept.ndim != 2 or len(kept) != len(images):
            raise checkpoint.CheckpointError(f"{path}: damaged answers of a teacher; delete the file, they are asked for again")
        return torch.from_numpy(kept).float().to(images.device)


@dataclass
class Lessons:
    """The training images of a recipe, resident on the device, and its teacher if it has one."""

    images: Tensor  # uint8 [n, H, W, 3]
    labels: Tensor  # int64 [n]
    seed: int
    teacher: Teacher | None = None

    @functools.cached_property
    def key(self) -> str:
        """Of the images, so that a teacher's answers to others are not taken for theirs."""
        return hashlib.sha256(self.images.cpu().numpy().tobytes()).hexdigest()[:12]

    def epoch(self, config: StageConfig, epoch: int) -> tuple[Tensor, Tensor | None]:
        """(every image in its augmentation of this epoch, the teacher's logits or None), in the images' own order."""
        view = epoch if config.views is None else epoch % config.views
        generator = torch.Generator(self.images.device).manual_seed(self.seed * 100_000 + view)
        augmented = torch.cat([augment(self.images[i : i + CHUNK], generator, randaugment=config.randaugment)
                               for i in range(0, len(self.images), CHUNK)])  # fmt: skip
        if self.teacher is None or config.teacher_share == 0:
            return augmented, None
        what = f"{self.images.device.type}-{self.key}-{self.seed}-{'rand' if config.randaugment else 'crop'}-{view:04d}"
        return augmented, self.teacher.answer(augmented, what)


def mix_images(x: Tensor, config: StageConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(mixed images float [B, H, W, 3], share [B] that each keeps of itself); the partner is the next image of the batch.

    mixup (Zhang et al., 2018) blends the pair, cutmix (Yun et al., 2019) puts a rectangle of the partner in; the share is
    uniform in 0..1 per image.
    """
    batch, height, width, _ = x.shape
    share = torch.rand(batch, generator=generator, device=x.device)
    own, other = x.float(), x.roll(1, 0).float()
    if config.mix == "mixup":
        weight = share.view(-1, 1, 1, 1)
        return own * weight + other * (1 - weight), share
    sides = (1 - share).sqrt()
    inside = torch.ones(batch, height, width, dtype=torch.bool, device=x.device)
    for axis, size in ((1, height), (2, width)):
        center = torch.rand(batch, generator=generator, device=x.device) * size
        low, high = (center - sides * size / 2).round(), (center + sides * size / 2).round()
        at = torch.arange(size, device=x.device)
        within = (at >= low[:, None]) & (at < high[:, None])
        inside &= within[:, :, None] if axis == 1 else within[:, None, :]
    return torch.where(inside[..., None], other, own), 1 - inside.float().mean((1, 2))


def distillation_loss(logits: Tensor, labels: Tensor, answers: Tensor | None, share: Tensor | None, config: StageConfig) -> Tensor:
    """Cross entropy with the labels and, at `teacher_share`, with the teacher's soft targets at its temperature.

    logits [B, classes], labels [B], answers [B, classes] or None; `share` [B] as from `mix_images`, or None where nothing
    was mixed. Targets of mixed images are mixed alike.
    """
    classes = logits.shape[1]
    smooth = config.label_smoothing
    targets = F.one_hot(labels, classes).to(logits.dtype) * (1 - smooth) + smooth / classes
    hard = F.cross_entropy(logits, _mixed(targets, share))
    if answers is None:
        return hard
    t = config.temperature
    soft = F.cross_entropy(logits / t, _mixed((answers / t).softmax(1), share)) * t * t
    return config.teacher_share * soft + (1 - config.teacher_share) * hard


def _mixed(targets: Tensor, share: Tensor | None) -> Tensor:
    return targets if share is None else targets * share[:, None] + targets.roll(1, 0) * (1 - share[:, None])
