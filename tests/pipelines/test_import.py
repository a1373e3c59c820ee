"""psaflow import, and what the other commands make of an imported graph."""


import numpy as np
import pytest

from tests.material import cifar10, pixels_of, published
from tests.pipelines.conftest import psaflow, psaflow_json
from tests.train.test_import_arrays import random_arrays


@pytest.fixture(scope="module")
def real_data(tmp_path_factory):
    return cifar10(tmp_path_factory.mktemp("cifar10"))


@pytest.mark.parametrize(("name", "top1"), [("relu_h96", 86.03), ("psa_h96", 88.07)])
@pytest.mark.data
@pytest.mark.slow
def test_published_model_has_its_accuracy_on_10000_test_images(name, top1, real_data, tmp_path):
    psaflow_json("import", published(name), "--out", tmp_path / "m.onnx")
    result = psaflow_json("evaluate", tmp_path / "m.onnx", "--data", real_data)
    assert result["images"] == 10000
    assert round(result["top1"], 2) == top1


@pytest.mark.parametrize("name", ["relu_h96", "psa_h96"])
@pytest.mark.slow
@pytest.mark.tools
def test_published_model_simulates_equal_on_its_samples_under_random_stalls(name, tmp_path):
    from train.import_arrays import input_table

    arrays = np.load(published(name))
    pixels = pixels_of(arrays["samples_input"], input_table(float(arrays["input_scale"])))
    labels = arrays["samples_output"].argmax(1)
    np.savez(tmp_path / "d.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    psaflow_json("import", published(name), "--out", tmp_path / "m.onnx")
    psaflow_json("build", tmp_path / "m.onnx", "--out", tmp_path / "b", "--until", "rtl", "--data", tmp_path / "d.npz")
    result = psaflow_json("simulate", tmp_path / "b", "--images", 8, "--stalls", 0.3, "--data", tmp_path / "d.npz")
    assert (result["images"], result["mismatches"], result["not_compared"]) == (8, 0, [])


@pytest.mark.parametrize("activation", ["relu", "psa"])
@pytest.mark.tools
def test_a_small_imported_model_goes_through_the_whole_simulation(activation, data, tmp_path):
    np.savez(tmp_path / "m.npz", **random_arrays(activation, channels=8, hidden=12, blocks=1, side=8))
    psaflow_json("import", tmp_path / "m.npz", "--out", tmp_path / "m.onnx")
    psaflow_json("build", tmp_path / "m.onnx", "--out", tmp_path / "b", "--config", "ecp5_25f", "--until", "rtl", "--data", data)
    result = psaflow_json("simulate", tmp_path / "b", "--images", 3, "--stalls", 0.3, "--data", data)
    assert (result["images"], result["mismatches"], result["not_compared"]) == (3, 0, [])


def test_test_images_of_another_size_are_refused_with_both_sizes_and_named_inputs_go(data, tmp_path):
    np.savez(tmp_path / "m.npz", **random_arrays(side=2))
    psaflow_json("import", tmp_path / "m.npz", "--out", tmp_path / "m.onnx")
    until = ("--out", tmp_path / "b", "--until", "integer")
    for command in (("evaluate", tmp_path / "m.onnx"), ("build", tmp_path / "m.onnx", *until)):
        refused = psaflow(*command, "--data", data)
        assert refused.exit_code == 1
        assert "[N, 8, 8, 3]" in refused.stderr and "[N, 32, 32, 3]" in refused.stderr.splitlines()[-1]
        assert not (tmp_path / "b").exists()
    pixels = np.random.default_rng(2).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", x=pixels)
    report = psaflow_json("build", tmp_path / "m.onnx", *until, "--inputs", tmp_path / "x.npz")
    assert report["test_images"] == 0 and not any(p["mismatches"] for p in report["passes"])


def test_a_fault_leaves_no_file(tmp_path):
    arrays = random_arrays()
    del arrays["embed_linear_b"]
    np.savez(tmp_path / "m.npz", **arrays)
    result = psaflow("import", tmp_path / "m.npz", "--out", tmp_path / "m.onnx")
    assert result.exit_code == 1
    assert "embed_linear_b" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()
