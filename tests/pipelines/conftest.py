"""One tiny network (2 blocks, 8 channels), trained for a moment on random images and built to a bitstream, for all tests here."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from accel import tools
from pipelines.cli import main
from pipelines.serving import integer_model
from tests.passes.graphs import parse

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


@pytest.fixture(scope="session")
def integer(tmp_path_factory, checkpoint) -> Path:
    """The checkpoint's integer stage."""
    path = tmp_path_factory.mktemp("integer") / "tiny.onnx"
    onnx.save(integer_model(checkpoint), path)
    return path


@pytest.fixture(scope="session")
def without_tables(tmp_path_factory) -> Path:
    """An integer model of one product, with no table but that of its pixels."""
    rng = np.random.default_rng(0)
    values = [", ".join(map(str, rng.integers(-128, 128, n))) for n in (3 * 256, 3072 * 10)]
    model = parse(f"""g (uint8[N,32,32,3] pixels) => (int32[N,10] logits)
        <int8[3,256] t = {{{values[0]}}}, int8[3072,10] w = {{{values[1]}}}, int64[2] flat = {{-1, 3072}}>
        {{ c = psaflow.ChannelLUT <lowest = 0> (pixels, t) f = Reshape (c, flat) logits = MatMulInteger (f, w) }}""")
    onnx.save(model, path := tmp_path_factory.mktemp("plain") / "plain.onnx")
    return path
