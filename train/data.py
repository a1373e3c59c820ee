"""CIFAR-10 from an .npz file or a torchvision root folder."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)
ENVIRONMENT = "PSAFLOW_DATA"
FORM = "x_train uint8 [n,32,32,3], y_train [n], x_test uint8 [m,32,32,3], y_test [m]"


class DataError(ValueError):
    """CIFAR-10 is missing or has the wrong form; the message is one line for the user."""


class DataAbsent(DataError):
    """There is no CIFAR-10 at the default place and none can be downloaded."""


@dataclass(frozen=True)
class Cifar10:
    """Images uint8 [n, 32, 32, 3] in RGB, labels int64 [n] in 0..9, in the official order and split."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"x_{split}"), getattr(self, f"y_{split}")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3) or not len(images):
                raise DataError(f"x_{split} is {images.dtype} {list(images.shape)}, expected uint8 [n, 32, 32, 3]")
            if labels.ndim != 1 or len(labels) != len(images) or not np.issubdtype(labels.dtype, np.integer):
                raise DataError(f"y_{split} is {labels.dtype} {list(labels.shape)}, expected integers [{len(images)}]")
            if labels.min() < 0 or labels.max() > 9:
                raise DataError(f"y_{split} holds {labels.min()}..{labels.max()}, expected classes 0..9")


def default_path() -> Path:
    """$PSAFLOW_DATA, else the user's cache folder."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "psaflow" / "cifar10"


def load_cifar10(path: Path | str | None = None) -> Cifar10:
    """Read an .npz, or a torchvision root (downloaded into when it is the default cache folder).

    Raises DataAbsent where nothing was named and nothing can be downloaded, DataError where `path` is unusable.
    """
    named = path is not None or bool(os.environ.get(ENVIRONMENT))
    place = Path(path) if path is not None else default_path()
    if named and not place.exists():
        raise DataError(f"{place}: no such file or folder; name an .npz ({FORM}) or a torchvision root with --data")
    try:
        return _from_npz(place) if place.is_file() else _from_torchvision(place, download=not named)
    except DataAbsent:
        raise
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def read_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz (of `names`, those that it has), without executing code; None where it is not readable."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files if names is None or name in names}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError):
        return None
    return found if all(isinstance(part, np.ndarray) for part in found.values()) else None


def _from_npz(path: Path) -> Cifar10:
    parts = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    if parts is None:
        raise DataError(f"not a readable .npz; it needs {FORM}")
    for name in ("x_train", "y_train", "x_test", "y_test"):
        if name not in parts:
            raise DataError(f"array {name} is missing; an .npz needs {FORM}")
    labels = {name: parts[name].astype(np.int64) if np.issubdtype(parts[name].dtype, np.integer) else parts[name]
              for name in ("y_train", "y_test")}  # fmt: skip
    return Cifar10(parts["x_train"], labels["y_train"], parts["x_test"], labels["y_test"])


def _from_torchvision(root: Path, *, download: bool) -> Cifar10:
    from train.torchvision_import import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):  # a download reports there; stdout is for results
            train, test = (datasets.CIFAR10(str(root), train=is_train, download=download) for is_train in (True, False))
    except (RuntimeError, OSError) as error:
        if download:
            raise DataAbsent(f"CIFAR-10 is not in {root} and could not be downloaded; name it with --data or ${ENVIRONMENT}") from error
        raise DataError("no CIFAR-10 there: expected a torchvision root with cifar-10-batches-py inside, intact") from None
    return Cifar10(train.data, np.array(train.targets, np.int64), test.data, np.array(test.targets, np.int64))
