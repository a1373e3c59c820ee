"""The training loop: seeded, resumable to the same result, one stage at a time, in one process or several.

All randomness of an epoch (order of images, augmentation, mixing) comes from generators seeded by what the epoch is, so
that a run that was stopped continues exactly as if it had not been.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from train import checkpoint, parallel
from train.data import Cifar10
from train.distill import Lessons, distillation_loss, mix_images
from train.functions import BSpline
from train.optimizers import Optimizers
from train.quantizers import plain
from train.recipe import Recipe, StageConfig

log = logging.getLogger(__name__)
STAGES = 128  # more than a recipe can have, blocks that are transferred one by one included
CHECK_EVERY = 50  # steps between two looks at the loss; looking waits for the device


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line for the user."""


@dataclass
class Stage:
    """What one call of `run_stage` trains."""

    name: str  # of its files
    config: StageConfig
    model: nn.Module  # what is evaluated and kept
    number: int  # part of the seeds
    objective: nn.Module | None = None  # pixels -> loss, instead of the model's logits against the targets
    section: str | None = None  # of the recipe, where it is not the name


def epoch_generator(seed: int, stage: int, epoch: int, device: torch.device) -> torch.Generator:
    """The source of an epoch's order and mixing."""
    return torch.Generator(device).manual_seed((seed * STAGES + stage) * 100_000 + epoch)


Batch = tuple[Tensor, Tensor, Tensor | None]


def batches(lessons: Lessons, config: StageConfig, generator: torch.Generator, epoch: int) -> Iterator[Batch]:
    """This process' share of shuffled (images, labels, answers); a last short batch is dropped."""
    images, answers = lessons.epoch(config, epoch)
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for start in range(0, len(order) - config.batch + 1, config.batch):
        picked = order[start : start + config.batch][parallel.rank() :: parallel.world()]
        yield images[picked], lessons.labels[picked], None if answers is None else answers[picked]


def learning_rate(config: StageConfig, progress: float) -> float:
    """Linear warm-up, then a cosine from `learning_rate` to `final_learning_rate`; progress in 0..1."""
    low, high = config.final_learning_rate, config.learning_rate
    if progress < config.warmup:
        return low + (high - low) * progress / config.warmup
    return low + (high - low) * (1 + math.cos(math.pi * (progress - config.warmup) / (1 - config.warmup))) / 2


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


def loss_function(stage: Stage, *, compile_model: bool) -> Callable[..., Tensor]:
    """(images, labels, answers or None, generator) -> the loss of this process' share of a batch."""
    config, model = stage.config, stage.model
    trained = parallel.distributed(stage.objective if stage.objective is not None else model)
    forward = torch.compile(trained) if compile_model else trained

    def loss_of(x: Tensor, labels: Tensor, answers: Tensor | None, generator: torch.Generator) -> Tensor:
        share = None
        if config.mix != "none":
            x, share = mix_images(x, config, generator)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            out = plain(forward(x)).float()
        loss = out if stage.objective is not None else distillation_loss(out, labels, answers, share, config)
        return loss + regularisation(model, config)

    return loss_of


def steps_per_epoch(recipe: Recipe, section: str, images: int) -> int:
    """Whole batches in so many images; TrainingError where a stage cannot be trained on them."""
    batch = recipe.stages[section].batch
    if images < batch:
        raise TrainingError(f"{recipe.name}: {images} training images are fewer than one batch of {batch} (stages.{section}.batch)")
    if batch % parallel.world():
        raise TrainingError(f"{recipe.name}: stages.{section}.batch of {batch} does not split over {parallel.world()} processes")
    return images // batch


def run_stage(stage: Stage, recipe: Recipe, lessons: Lessons, data: Cifar10, folder: Path, *, resume: bool,
              compile_model: bool = True, stop_after: int | None = None) -> list[dict[str, float]]:  # fmt: skip
    """Train `stage.model` in place; returns one row of metrics per epoch.

    `folder/last_<stage>.pt` is replaced after every epoch. `stop_after` ends early after so many epochs in total.
    """
    config, model = stage.config, stage.model
    device = lessons.images.device
    steps = steps_per_epoch(recipe, stage.section or stage.name, len(lessons.images))
    taught_by = None if lessons.teacher is None else lessons.teacher.key
    rows: list[dict[str, float]] = []
    last = folder / f"last_{stage.name}.pt"
    state = None
    if resume and last.exists():
        state = checkpoint.load(last)
        if _relevant(state["recipe"], stage) != _relevant(recipe.model_dump(), stage):
            raise TrainingError(f"{last}: belongs to another recipe; train into another folder or without --resume")
        if state.get("teacher", taught_by) != taught_by:
            raise TrainingError(f"{last}: learned from other weights of {recipe.teacher!r}; give it those, or train into another folder")
        model.load_state_dict(state["model"])
        model.to(device)  # Brevitas' quantizers take the loaded values' place
        rows = list(state["rows"])
        if rows:
            log.info("%s: resuming %s after epoch %d", recipe.name, stage.name, len(rows))
    average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    if average is not None and state is not None:
        average.load_state_dict(state["average"])
        average.to(device)
    if len(rows) < config.epochs:
        # made after the loading, because Brevitas' quantizers replace their parameters when they load
        trained = stage.objective if stage.objective is not None else model
        optimizers = Optimizers(trained, config)
        if state is not None:
            optimizers.load_state_dict(state["optimizer"])
        loss_of = loss_function(stage, compile_model=compile_model)
    with contextlib.closing(EpochLog(folder, stage.name, len(rows) + 1)) as written:
        for epoch in range(len(rows), min(config.epochs, stop_after or config.epochs)):
            started = time.perf_counter()
            generator = epoch_generator(recipe.seed, stage.number, epoch, device)
            model.train()
            if stage.objective is not None:
                stage.objective.train()
            losses: list[Tensor] = []
            bar = tqdm(batches(lessons, config, generator, epoch), total=steps, unit="step", leave=False,
                       desc=f"{stage.name} {epoch + 1}/{config.epochs}", disable=not sys.stderr.isatty())  # fmt: skip
            for step, (x, labels, answers) in enumerate(bar):
                rate = learning_rate(config, (epoch * steps + step) / (config.epochs * steps))
                loss = loss_of(x, labels, answers, generator)
                optimizers.zero_grad()
                loss.backward()
                optimizers.step(rate)
                if average is not None:
                    _average(average, model, config.ema)
                losses.append(loss.detach())
                if step % CHECK_EVERY == 0 or step == steps - 1:
                    _check(losses, f"{recipe.name}: loss is {{}} at {stage.name} epoch {epoch + 1}, step {{}}; {_good(last)}")
            if not all(bool(p.isfinite().all()) for p in model.parameters()):  # a step from a finite loss to weights that are none
                where = f"{stage.name} epoch {epoch + 1}, step {step}"
                raise TrainingError(f"{recipe.name}: weights are not finite after {where}; {_good(last)}")
            mean = parallel.mean(torch.stack(losses).mean()).item()
            kept = model if average is None else average
            top1 = accuracy(kept, data.x_test, data.y_test)
            rows.append({"epoch": epoch + 1, "loss": mean, "top1": top1, "learning_rate": rate, "seconds": time.perf_counter() - started})
            if parallel.rank() == 0:
                content = {"recipe": recipe.model_dump(), "model": model.state_dict(), "optimizer": optimizers.state_dict(), "rows": rows,
                           "teacher": taught_by}  # fmt: skip
                _keep(last, content if average is None else content | {"average": average.state_dict()}, recipe, written)
            log.info("%s %s epoch %d/%d: loss %.4f, top-1 %.2f %%, %.0f s", recipe.name, stage.name, epoch + 1, config.epochs, mean,
                     top1, rows[-1]["seconds"])  # fmt: skip
    if average is not None and len(rows) == config.epochs:
        model.load_state_dict(average.state_dict())
    return rows


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of parameters and floating-point buffers; other buffers are copied."""
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [(a, m) for a, m in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [m for _, m in floats], 1 - decay)
    for a, m in pairs:
        if not a.is_floating_point():
            a.copy_(m)


def _check(losses: list[Tensor], message: str) -> None:
    """Raise in every process at the first step whose loss is not finite in any of them."""
    recent = losses[-CHECK_EVERY:]
    values = parallel.mean(torch.stack(recent))
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        raise TrainingError(message.format(values[first].item(), len(losses) - len(recent) + first))


def _keep(last: Path, content: dict, recipe: Recipe, written: EpochLog) -> None:
    """State and metrics of the epochs so far, on disk; the state last, so that no epoch that it counts lacks its metrics."""
    try:
        written.write(content["rows"])
        checkpoint.save(last, content)
    except OSError as error:
        raise TrainingError(f"{recipe.name}: {last} could not be written ({error.strerror}); {_good(last)}") from None


def _good(last: Path) -> str:
    return f"the last good state is {last}" if last.exists() else "no epoch was finished"


def _relevant(recipe: dict, stage: Stage) -> dict:
    """What of a recipe decides the outcome of a stage: everything but the stages that follow it."""
    names = list(recipe.get("stages", {}))
    section = stage.section or stage.name
    before = names[: names.index(section) + 1] if section in names else []
    return recipe | {"stages": {name: recipe["stages"][name] for name in before}}


class EpochLog:
    """A stage's metrics per epoch: `<stage>.csv`, whole each time, and TensorBoard events in `tensorboard/<stage>`."""

    def __init__(self, folder: Path, stage: str, first: int) -> None:
        """`first`: the epoch from which events of an earlier run, that was stopped before it kept their state, are replaced."""
        self.table, self.events, self.first = folder / f"{stage}.csv", folder / "tensorboard" / stage, first
        self.writer: SummaryWriter | None = None

    def write(self, rows: list[dict[str, float]]) -> None:
        """Add the last of `rows`; OSError where that is not possible."""
        if self.writer is None:
            self.writer = SummaryWriter(str(self.events), purge_step=self.first)
        for name, value in rows[-1].items():
            if name != "epoch":
                self.writer.add_scalar(name, value, int(rows[-1]["epoch"]))
        self.writer.flush()
        with checkpoint.replacing(self.table) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(rows[0]))
            table.writeheader()
            table.writerows(rows)

    def close(self) -> None:
        """Let go of the events' file; all that was written is in it already."""
        if self.writer is not None:
            with contextlib.suppress(OSError):
                self.writer.close()
