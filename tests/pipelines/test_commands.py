"""The commands and what they print."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.pipelines.conftest import psaflow, psaflow_json


@pytest.mark.parametrize("kernels", ["--kernels", "--no-kernels"])
def test_evaluate_gives_the_same_top1_for_checkpoint_and_export(checkpoint, data, tmp_path, kernels):
    exported = tmp_path / "m.onnx"
    psaflow_json("export", checkpoint, "--out", exported)
    results = [psaflow_json("evaluate", model, "--data", data, kernels) for model in (checkpoint, exported)]
    assert results[0]["top1"] == results[1]["top1"]
    for result, engine in zip(results, ("brevitas", "onnxruntime"), strict=True):
        assert result["images"] == 48
        assert result["engine"] == engine
        assert result["images_per_second"] > 0


def test_evaluate_json_prints_one_object_on_stdout_and_no_bar_without_a_terminal(checkpoint, data):
    done = subprocess.run([sys.executable, "-m", "pipelines.evaluate", checkpoint, "--data", data, "--json"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)["images"] == 48
    assert "it/s" not in done.stderr and "\r" not in done.stderr


def test_evaluate_measures_the_float_model_too(checkpoint, data):
    assert psaflow_json("evaluate", checkpoint, "--stage", "float", "--data", data)["engine"] == "pytorch"


def test_interrupted_training_resumed_by_the_command_gives_the_same_weights(recipe, data, tmp_path):
    long = tmp_path / "long.yaml"
    long.write_text(recipe.read_text().replace("epochs: 1", "epochs: 2"))
    psaflow_json("train", long, "--out", tmp_path / "whole", "--data", data, "--no-compile")
    psaflow_json("train", long, "--out", tmp_path / "cut", "--data", data, "--no-compile")
    (tmp_path / "cut" / "tiny.pt").unlink()
    (tmp_path / "cut" / "last_quantized.pt").unlink()
    psaflow_json("train", long, "--out", tmp_path / "cut", "--data", data, "--no-compile", "--resume")
    states = [torch.load(tmp_path / run / "tiny.pt", weights_only=True)["quantized"] for run in ("whole", "cut")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_training_leaves_metrics_and_pictures(checkpoint):
    for file in ("float.csv", "quantized.csv", "history.png", "functions.png"):
        assert (checkpoint.parent / file).stat().st_size > 0


def test_help_names_every_command():
    result = psaflow("--help")
    assert all(name in result.output for name in ("train", "export", "evaluate", "build", "simulate"))


def test_accuracy_of_real_images_is_that_of_their_labels(checkpoint, data):
    from pipelines.evaluate import open_model

    arrays = np.load(data)
    run = open_model(checkpoint).run
    expected = 100 * (run(arrays["x_test"]).argmax(1) == arrays["y_test"]).mean()
    assert psaflow_json("evaluate", checkpoint, "--data", data)["top1"] == pytest.approx(expected)
