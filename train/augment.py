"""Augmentation of whole batches on the device, with a draw of its own per image.

Random crop (padding 4), horizontal flip and RandAugment (Cubuk et al., 2020: two operations at magnitude 9 of 30,
out of the fourteen of its search space).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAGNITUDE = 9 / 30
GEOMETRIC = ("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate")
COLOUR = ("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize")


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """uint8 [B, 3, H, W] -> the same shape: shifted by up to `padding` pixels (zeros come in), flipped half the time."""
    batch, _, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, batch, 1), generator=generator, device=device)
    flip = torch.rand(batch, 1, generator=generator, device=device) < 0.5
    rows = top + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(batch, -1)
    columns = left + torch.where(flip, width - 1 - columns, columns)
    at = torch.arange(batch, device=device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _warp(images: Tensor, choice: Tensor, sign: Tensor) -> Tensor:
    """The geometric operations as one nearest-neighbour resampling; float [B, 3, H, W]."""
    matrix = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    amounts = {
        "shear_x": (0, 1, 0.3 * MAGNITUDE),
        "shear_y": (1, 0, 0.3 * MAGNITUDE),
        "translate_x": (0, 2, 2 * 150 / 331 * MAGNITUDE),
        "translate_y": (1, 2, 2 * 150 / 331 * MAGNITUDE),
    }
    for name, (row, column, amount) in amounts.items():
        matrix[:, row, column] = torch.where(choice == GEOMETRIC.index(name), sign * amount, matrix[:, row, column])
    turned = choice == GEOMETRIC.index("rotate")
    angle = sign * math.radians(30 * MAGNITUDE)
    for row, column, value in ((0, 0, angle.cos()), (0, 1, -angle.sin()), (1, 0, angle.sin()), (1, 1, angle.cos())):
        matrix[:, row, column] = torch.where(turned, value, matrix[:, row, column])
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def _gray(x: Tensor) -> Tensor:
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _blur(x: Tensor) -> Tensor:
    kernel = torch.ones(3, 1, 3, 3, device=x.device)
    kernel[:, :, 1, 1] = 5
    inner = F.conv2d(x, kernel / 13, groups=3)
    blurred = x.clone()
    blurred[:, :, 1:-1, 1:-1] = inner
    return blurred


def _equalize(x: Tensor) -> Tensor:
    """Histogram equalisation of each colour plane; float [B, 3, H, W] holding 0..255."""
    flat = x.flatten(2).long()
    ones = torch.ones_like(flat, dtype=torch.float32)
    cumulative = torch.zeros(*flat.shape[:2], 256, device=x.device).scatter_add_(2, flat, ones).cumsum(2)
    lowest = cumulative.gather(2, flat.min(2, keepdim=True).values)
    table = ((cumulative - lowest) / (flat.shape[2] - lowest).clamp(min=1) * 255).clamp(0, 255).floor()
    return table.gather(2, flat).view_as(x)


def _colour(x: Tensor, name: str, sign: Tensor) -> Tensor:
    """One colour operation on float [B, 3, H, W] holding 0..255."""
    factor = (1 + 0.9 * MAGNITUDE * sign).view(-1, 1, 1, 1)
    if name == "brightness":
        return x * factor
    if name == "color":
        gray = _gray(x)
        return gray + (x - gray) * factor
    if name == "contrast":
        mean = _gray(x).mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * factor
    if name == "sharpness":
        blurred = _blur(x)
        return blurred + (x - blurred) * factor
    if name == "posterize":
        step = 2 ** round(4 * MAGNITUDE)
        return (x / step).floor() * step
    if name == "solarize":
        return torch.where(x >= 255 * (1 - MAGNITUDE), 255 - x, x)
    if name == "autocontrast":
        low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1)), x)
    return _equalize(x)


def rand_augment(images: Tensor, generator: torch.Generator, operations: int = 2) -> Tensor:
    """uint8 [B, 3, H, W] -> uint8 of the same shape, `operations` random operations an image."""
    x = images.float()
    for _ in range(operations):
        choice = torch.randint(0, len(GEOMETRIC) + len(COLOUR), (len(x),), generator=generator, device=x.device)
        sign = torch.randint(0, 2, (len(x),), generator=generator, device=x.device).float() * 2 - 1
        moved = ((choice > 0) & (choice < len(GEOMETRIC))).nonzero().flatten()
        if len(moved):
            x[moved] = _warp(x[moved], choice[moved], sign[moved])
        for index, name in enumerate(COLOUR, start=len(GEOMETRIC)):
            picked = (choice == index).nonzero().flatten()
            if len(picked):
                x[picked] = _colour(x[picked], name, sign[picked]).clamp(0, 255).floor()
    return x.to(torch.uint8)


def augment(images: Tensor, generator: torch.Generator, *, randaugment: bool = True) -> Tensor:
    """uint8 [B, H, W, 3] -> uint8 [B, H, W, 3]: RandAugment, then crop and flip."""
    planes = images.permute(0, 3, 1, 2)
    if randaugment:
        planes = rand_augment(planes, generator)
    return crop_and_flip(planes, generator).permute(0, 2, 3, 1).contiguous()
