"""psaflow program: what lies in the folder is the model's program, and a model that is too large leaves nothing there."""

import json
from dataclasses import replace

import numpy as np
import onnx

from accel.simd.assembler import assemble
from accel.simd.model import Engine
from accel.simd.sizes import Build
from custom_ops.runtime import session
from tests.accel.simd.networks import RELU_192, images, network
from tests.pipelines.conftest import psaflow, psaflow_json


def test_the_program_in_the_folder_gives_the_models_logits(integer, tmp_path):
    result = psaflow_json("program", integer, "--out", tmp_path, "--inputs", 8)
    facts = json.loads((tmp_path / "program.json").read_text())
    code = (tmp_path / "program.bin").read_bytes()
    assert assemble((tmp_path / "program.txt").read_text()) == code
    assert (facts["build"]["inputs"], facts["bytes"], result["classes"]) == (8, len(code), 10)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *facts["image"]), dtype=np.uint8)
    run = Engine(Build(**facts["build"])).run(code, facts["loop"], pixels)
    expected = session(onnx.load(integer)).run(None, {"pixels": pixels})[0]
    assert np.array_equal([image.logits for image in run.images], expected)
    assert result["cycles"]["back_to_back"] == int(Engine(Build(**facts["build"])).run(code, facts["loop"], images(RELU_192, 3)).back_to_back)


def test_a_model_that_is_too_large_is_refused_in_one_line(tmp_path):
    model = tmp_path / "large.onnx"
    onnx.save(network(replace(RELU_192, hidden=1024, blocks=1)), model)
    result = psaflow("program", model, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "tensor blocks_0_fc1: 64 tokens of 1024 channels need words 0..4095 of a bank, this build has bank_words=2048" in result.output
    assert not (tmp_path / "out").exists()
