"""Real data that is not shipped: found through the environment, or in a folder `shared` beside the checkout; else a test skips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def published(name: str) -> Path:
    """The arrays of a published INT8 model; skips where they are not at hand."""
    folder = Path(os.environ.get("PSAFLOW_REFERENCE", SHARED / "reference"))
    path = folder / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs the published model {name}.npz (name its folder with PSAFLOW_REFERENCE)")
    return path


def cifar10(folder: Path) -> Path:
    """CIFAR-10 as a path for --data, unpacked into `folder` where need be; skips where it is not at hand."""
    if "PSAFLOW_DATA" in os.environ:
        return Path(os.environ["PSAFLOW_DATA"])
    unpack = SHARED / "cifar10" / "unpack.py"
    if not unpack.is_file():
        pytest.skip("needs CIFAR-10 (name it with PSAFLOW_DATA)")
    target = folder / "cifar10.npz"
    subprocess.run([sys.executable, unpack, target], check=True)
    return target


def pixels_of(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Images uint8 [n, H, W, 3] whose input codes are the tokens `codes` int8 [n, T, p*p*3], by the input table [3, 256]."""
    count, tokens, features = codes.shape
    side, patch = round(tokens**0.5), round((features // 3) ** 0.5)
    split = codes.reshape(count, side, side, patch, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    planes = split.reshape(count, side * patch, side * patch, 3)
    pixels = np.zeros(planes.shape, np.uint8)
    for colour in range(3):
        inverse = {int(code): pixel for pixel, code in enumerate(table[colour])}
        pixels[..., colour] = np.vectorize(inverse.__getitem__)(planes[..., colour])
    return pixels
