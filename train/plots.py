"""Pictures of a training run."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import nn

from train.functions import PSA, BSpline, LerpPSA
from train.lerp import lerp

CURVES = 16  # functions drawn per layer


def plot_history(history: dict[str, list[dict[str, float]]], name: str, path: Path) -> None:
    """Loss and top-1 per epoch, all stages on one axis."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    start = 0.0
    for label, rows in history.items():
        epochs = [row["epoch"] + start for row in rows]
        left.plot(epochs, [row["loss"] for row in rows], label=label)
        right.plot(epochs, [row["top1"] for row in rows], label=label)
        start = epochs[-1]
    left.set(xlabel="epoch", ylabel="training loss", title=name)
    right.set(xlabel="epoch", ylabel="top-1, test (%)", title=name)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    _save(figure, path)


def plot_functions(model: nn.Module, name: str, path: Path) -> None:
    """The learned functions of every layer, a few channels each; no file where the model learns none."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, PSA | BSpline)}
    if not layers:
        return
    columns = min(4, len(layers))
    figure, axes = plt.subplots(math.ceil(len(layers) / columns), columns, figsize=(3 * columns, 2.4 * math.ceil(len(layers) / columns)),
                                squeeze=False)  # fmt: skip
    x = torch.linspace(-4.5, 4.5, 400, device=next(model.parameters()).device)
    for axis, (layer, module) in zip(axes.flat, layers.items(), strict=False):
        with torch.no_grad():
            axis.plot(x.cpu(), evaluate(module, x)[:, :CURVES].cpu(), linewidth=0.8)
        axis.set_title(layer, fontsize=8)
        axis.grid(alpha=0.3)
    figure.suptitle(f"{name}: learned functions, {CURVES} channels of each layer")
    _save(figure, path)


def evaluate(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Every channel's function at the points x [n] -> [n, C]."""
    if isinstance(module, BSpline):
        return lerp(module.knots, x[:, None].expand(-1, len(module.knots)).contiguous(), module.bound)
    assert isinstance(module, PSA | LerpPSA)
    return module(x[:, None].expand(-1, len(module.o_w)).contiguous())


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
