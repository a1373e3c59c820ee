"""The images that a pipeline runs: CIFAR-10's test images, or seeded random ones where it is absent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.console import UserError
from train.data import DataAbsent, load_cifar10

log = logging.getLogger(__name__)
RANDOM_IMAGES = 256
IMAGE = (32, 32, 3)


@dataclass(frozen=True)
class TestImages:
    """uint8 images [n, 32, 32, 3] and their classes [n]; `labels` is None for random images."""

    __test__ = False  # no test case

    images: np.ndarray
    labels: np.ndarray | None

    @property
    def real(self) -> bool:
        return self.labels is not None


def check_input(source: Path, inputs: Sequence[tuple[str, str, Sequence]]) -> str:
    """The name of a model's one input, if it takes these images; UserError otherwise. inputs: (name, type, shape)."""
    sizes = [list(shape[1:]) for _, _, shape in inputs]
    if len(inputs) != 1 or inputs[0][1] != "uint8" or sizes != [list(IMAGE)]:
        found = ", ".join(f"{name} {kind} [N, {', '.join(map(str, size))}]" for (name, kind, _), size in zip(inputs, sizes, strict=True))
        raise UserError(f"{source}: takes {found}; a model here takes uint8 pixels [N, {', '.join(map(str, IMAGE))}]")
    if isinstance(inputs[0][2][0], int):
        raise UserError(f"{source}: takes batches of {inputs[0][2][0]} only; export it with a dynamic batch N")
    return inputs[0][0]


def test_images(data: Path | None, seed: int) -> TestImages:
    """All test images; random ones, with a warning, where no data was named and none can be downloaded."""
    try:
        cifar = load_cifar10(data)
    except DataAbsent as absent:
        log.warning("%s; going on with %d seeded random images, accuracy is not measured", absent, RANDOM_IMAGES)
        return TestImages(np.random.default_rng(seed).integers(0, 256, (RANDOM_IMAGES, 32, 32, 3), np.uint8), None)
    return TestImages(cifar.x_test, cifar.y_test)


test_images.__test__ = False  # type: ignore[attr-defined]
