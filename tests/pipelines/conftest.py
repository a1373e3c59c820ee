"""One tiny network (2 blocks, 8 channels), trained for a moment on random images and built to a bitstream, for all tests here."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from accel import tools
from pipelines.cli import main

RECIPE = """
name: tiny
model: {activation: lerp_psa, embed: 8, hidden: 8, blocks: 2, grid: 16, expansion: 4}
stages:
  float: {epochs: 1, batch: 16}
  quantized: {kind: quantized, epochs: 1, batch: 16, learning_rate: 1.0e-4}
train_images: 64
"""


def psaflow(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def psaflow_json(*arguments: object) -> dict:
    """Run the command with --json; its one object."""
    result = psaflow(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """An .npz of CIFAR-10's form with random images."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "random.npz"
    arrays = {}
    for split, count in (("train", 64), ("test", 48)):
        arrays[f"x_{split}"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 10, count)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, data, recipe) -> Path:
    """A trained, quantized checkpoint, made by the command."""
    out = tmp_path_factory.mktemp("run") / "tiny"
    psaflow_json("train", recipe, "--out", out, "--data", data, "--no-compile")
    return out / "tiny.pt"


@pytest.fixture(scope="session")
def build(tmp_path_factory, data, checkpoint) -> Path:
    """The checkpoint's whole build, down to a bitstream for the smallest ECP5."""
    missing = [t for t in ("verilator", "yosys", "nextpnr-ecp5", "ecppack", "ecpunpack") if not tools.available(t)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    out = tmp_path_factory.mktemp("build") / "tiny"
    psaflow_json("build", checkpoint, "--out", out, "--config", "ecp5_25f", "--data", data)
    return out
