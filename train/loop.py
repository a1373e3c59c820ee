"""The training loop: seeded, resumable to the same result, one stage at a time.

All randomness of an epoch (order of images, augmentation) comes from one generator seeded by (seed, stage, epoch), so
that a run that was stopped continues exactly as if it had not been.
"""

from __future__ import annotations

import csv
import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from train import checkpoint
from train.augment import augment
from train.data import Cifar10
from train.functions import BSpline
from train.quantizers import plain
from train.recipe import Recipe, StageConfig

log = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line for the user."""


@dataclass
class Stage:
    """What one call of `run_stage` trains."""

    name: str  # "float", "finish" or "quantized"
    config: StageConfig
    model: nn.Module
    number: int  # below 4, part of the seeds


def epoch_generator(seed: int, stage: int, epoch: int, device: torch.device) -> torch.Generator:
    """The one source of randomness of an epoch."""
    return torch.Generator(device).manual_seed((seed * 4 + stage) * 100_000 + epoch)


def batches(images: Tensor, labels: Tensor, config: StageConfig, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches; a last short one is dropped."""
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for start in range(0, len(order) - config.batch + 1, config.batch):
        picked = order[start : start + config.batch]
        yield augment(images[picked], generator, randaugment=config.randaugment), labels[picked]


def learning_rate(config: StageConfig, progress: float) -> float:
    """Cosine from `learning_rate` to `final_learning_rate`; progress in 0..1."""
    low, high = config.final_learning_rate, config.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


def regularisation(model: nn.Module, config: StageConfig) -> Tensor | float:
    """The B-splines' second variation (article, lambda 1e-5)."""
    splines = [m for m in model.modules() if isinstance(m, BSpline)]
    return config.tv2 * sum(m.total_variation() for m in splines) if splines and config.tv2 else 0.0


@torch.no_grad()
def predict(model: nn.Module, images: np.ndarray, batch: int = 500, *, progress: bool = True) -> Tensor:
    """Logits [n, classes] of uint8 images [n, H, W, 3], in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    starts = tqdm(range(0, len(images), batch), desc="evaluate", unit="batch", leave=False,
                  disable=not progress or not sys.stderr.isatty())  # fmt: skip
    return torch.cat([plain(model(torch.from_numpy(images[i : i + batch]).to(device))).cpu() for i in starts])


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 in percent."""
    logits = predict(model, images, progress=False)
    return 100.0 * (logits.argmax(1).numpy() == labels).mean().item()


def run_stage(stage: Stage, recipe: Recipe, data: Cifar10, folder: Path, *, resume: bool, compile_model: bool = True,
              stop_after: int | None = None) -> list[dict[str, float]]:  # fmt: skip
    """Train `stage.model` in place; returns one row of metrics per epoch.

    `folder/last_<stage>.pt` is replaced after every epoch. `stop_after` ends early after so many epochs in total.
    """
    config, model = stage.config, stage.model
    device = next(model.parameters()).device
    count = recipe.train_images or len(data.x_train)
    images = torch.from_numpy(data.x_train[:count]).to(device)
    labels = torch.from_numpy(data.y_train[:count]).to(device)
    steps = len(images) // config.batch
    if steps == 0:
        raise TrainingError(f"{recipe.name}: {len(images)} training images are fewer than one batch of {config.batch}")
    rows: list[dict[str, float]] = []
    last = folder / f"last_{stage.name}.pt"
    state = None
    if resume and last.exists():
        state = checkpoint.load(last)
        if _relevant(state["recipe"], stage.name) != _relevant(recipe.model_dump(), stage.name):
            raise TrainingError(f"{last}: belongs to another recipe; train into another folder or without --resume")
        model.load_state_dict(state["model"])
        rows = state["rows"]
        log.info("%s: resuming %s after epoch %d", recipe.name, stage.name, len(rows))
    # made after the loading, because Brevitas' quantizers replace their parameters when they load
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.0, foreach=True)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    forward = torch.compile(model) if compile_model else model
    for epoch in range(len(rows), min(config.epochs, stop_after or config.epochs)):
        started = time.perf_counter()
        generator = epoch_generator(recipe.seed, stage.number, epoch, device)
        model.train()
        losses: list[Tensor] = []
        bar = tqdm(batches(images, labels, config, generator), total=steps, unit="step", leave=False,
                   desc=f"{stage.name} {epoch + 1}/{config.epochs}", disable=not sys.stderr.isatty())  # fmt: skip
        for step, (x, y) in enumerate(bar):
            rate = learning_rate(config, (epoch * steps + step) / (config.epochs * steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = F.cross_entropy(plain(forward(x)), y, label_smoothing=config.label_smoothing) + regularisation(model, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if step % 50 == 0 and not torch.isfinite(loss):
                raise TrainingError(f"{recipe.name}: loss is {loss.item()} at {stage.name} epoch {epoch + 1}, step {step}; {_good(last)}")
        mean = torch.stack(losses).mean().item()
        if not math.isfinite(mean):
            raise TrainingError(f"{recipe.name}: loss became {mean} in {stage.name} epoch {epoch + 1}; {_good(last)}")
        top1 = accuracy(model, data.x_test, data.y_test)
        rows.append({"epoch": epoch + 1, "loss": mean, "top1": top1, "seconds": time.perf_counter() - started})
        checkpoint.save(last, {"recipe": recipe.model_dump(), "model": model.state_dict(),
                               "optimizer": optimizer.state_dict(), "rows": rows})  # fmt: skip
        write_csv(folder / f"{stage.name}.csv", rows)
        log.info("%s %s epoch %d/%d: loss %.4f, top-1 %.2f %%, %.0f s", recipe.name, stage.name, epoch + 1, config.epochs, mean,
                 top1, rows[-1]["seconds"])  # fmt: skip
    return rows


def _good(last: Path) -> str:
    return f"the last good state is {last}" if last.exists() else "no epoch was finished"


def _relevant(recipe: dict, stage: str) -> dict:
    """What of a recipe decides the outcome of a stage: everything but the stages that follow it."""
    later = {"float": ("finish_training", "quantized_training"), "finish": ("quantized_training",)}.get(stage, ())
    return {k: v for k, v in recipe.items() if k not in later}


def write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    """Metrics per epoch, whole file each time."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
