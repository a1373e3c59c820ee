"""Fixtures shared by all rooms: seeded images, and tiny quantized networks with their stages."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:  # imported where they are used, so that the other rooms' tests start quickly
    from onnx import ModelProto

    from passes.check import PassRecord
    from train.quantized import QuantResMLP
    from train.resmlp import ResMLP

ACTIVATIONS = ("relu", "bspline", "psa", "lerp_psa")
TARGET_CYCLES = 4096  # per image, of the tiny networks' dataflow stage


def random_images(count: int, seed: int) -> np.ndarray:
    """uint8 [count, 32, 32, 3]: large soft shapes under noise, some of them black, white, or noise alone."""
    rng = np.random.default_rng(seed)
    shapes = np.kron(rng.uniform(0, 255, (count, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    images = shapes + rng.normal(0, 30, (count, 32, 32, 3))
    images[rng.random(count) < 0.1] = rng.choice([0, 255])
    noise = rng.random(count) < 0.1
    images[noise] = rng.uniform(0, 255, (int(noise.sum()), 32, 32, 3))
    return np.clip(images, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Network:
    """A tiny network with calibrated quantizers (not trained), in every form."""

    floating: ResMLP
    quantized: QuantResMLP

    @functools.cached_property
    def exported(self) -> ModelProto:
        """As `train.export` gives it."""
        from train.export import export_onnx

        return export_onnx(self.quantized)

    @functools.cached_property
    def _lowered(self) -> tuple[dict[str, ModelProto], list[PassRecord]]:
        from onnx import ModelProto

        from passes import INTEGER, STREAMLINE, TIDY, dataflow
        from passes.check import CheckedPasses

        run = CheckedPasses(self.exported, random_images(4, seed=2))
        models = {"exported": self.exported}
        for stage, passes in (("tidy", TIDY), ("streamlined", STREAMLINE), ("integer", INTEGER), ("dataflow", dataflow(TARGET_CYCLES))):
            models[stage] = ModelProto.FromString(run.run(stage, passes).SerializeToString())
        return models, run.records

    @functools.cached_property
    def runtime(self) -> tuple[ModelProto, list[PassRecord]]:
        """The integer stage fused for onnxruntime, and one record for each pass that ran."""
        from passes import RUNTIME
        from passes.check import CheckedPasses

        run = CheckedPasses(self.stages["integer"], random_images(4, seed=2))
        return run.run("runtime", RUNTIME), run.records

    @property
    def stages(self) -> dict[str, ModelProto]:
        """exported, tidy, streamlined, integer, dataflow."""
        return self._lowered[0]

    @property
    def records(self) -> list[PassRecord]:
        """One for each pass that ran."""
        return self._lowered[1]


@functools.cache
def _network(activation: str) -> Network:
    import torch

    from train.quantized import calibrate, quantize
    from train.resmlp import Architecture, ResMLP, absorb

    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = random_images(300, seed=0)
    model = ResMLP(Architecture(activation=activation, embed=8, hidden=8, blocks=2))
    model.train()
    with torch.no_grad():
        for start in range(0, 300, 100):
            model(torch.from_numpy(images[start : start + 100]))
        for parameter in model.parameters():  # away from the initial ones and zeros
            parameter.add_(torch.randn_like(parameter) * 0.05)
    quantized = quantize(absorb(model.eval()))
    calibrate(quantized, images, seed=0, batch=32)
    return Network(model, quantized)


@pytest.fixture(scope="session")
def network() -> Callable[[str], Network]:
    """network(activation): blocks 2, embed 8, hidden 8; built once."""
    return _network


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """uint8 [64, 32, 32, 3], none of which a quantizer has seen."""
    return random_images(64, seed=1)


@pytest.fixture
def finn(tmp_path: Path) -> Iterator[Path]:
    """FINN with our ops, and the folder of what it generates."""
    if importlib.util.find_spec("finn") is None:  # one that is there and does not import is a failure
        pytest.skip("FINN is not installed; run make finn")
    from pipelines.finn_session import finn_session

    with finn_session(tmp_path):
        yield tmp_path
