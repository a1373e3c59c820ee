"""Models as they are served: the fused graph equals the integer graph on every logit, on every instruction set; evaluate tells what ran."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from custom_ops.kernels import KernelError, library
from custom_ops.runtime import kernels_of, session
from pipelines.serving import integer_model, is_fused, latency, runtime_model, served
from tests.conftest import random_images
from tests.material import published
from tests.ops.layer_cases import available
from tests.pipelines.conftest import psaflow, psaflow_json
from train.import_arrays import import_arrays, read_arrays

CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "lerp_psa_h96.pt"
IMAGES = 300
BLOCKS = 4
FUSED = ["PatchLinear", *["TokenLinear", "Linear", "Linear"] * BLOCKS, "TokenMean"]


@pytest.fixture(scope="module", params=["shipped", "relu_h96", "psa_h96"])
def integer(request):
    """The integer graph of the shipped checkpoint, or of a published model."""
    if request.param == "shipped":
        return integer_model(CHECKPOINT)
    return import_arrays(read_arrays(published(request.param)))


def test_the_fused_graph_gives_every_logit_of_the_integer_graph(integer, monkeypatch):
    monkeypatch.delenv("PSAFLOW_ISA", raising=False)
    images = random_images(IMAGES, seed=5)
    fused = runtime_model(integer)
    last = "LinearSum" if integer.graph.node[-1].op_type == "Add" else "Linear"
    assert [n.op_type for n in fused.graph.node] == [*FUSED, last]
    expected = session(integer, kernels=False, threads=1).run(None, {"pixels": images})[0]
    assert len(np.unique(expected.argmax(1))) > 1
    results = {"bodies": session(fused, kernels=False, threads=1).run(None, {"pixels": images})[0]}
    for isa in available():
        monkeypatch.setenv("PSAFLOW_ISA", isa)
        for threads in (1, 2):
            opened = session(fused, kernels=True, threads=threads)
            assert sum(kernels_of(opened).values()) == len(fused.graph.node)
            results[f"{isa}, {threads} threads"] = opened.run(None, {"pixels": images})[0]
            alone = [opened.run(None, {"pixels": images[i : i + 1]})[0] for i in range(3)]
            assert (np.concatenate(alone) == expected[:3]).all()
    for way, got in results.items():
        assert got.dtype == expected.dtype
        assert (got == expected).all(), f"{way}: {(got != expected).sum()} logits differ"


@pytest.fixture
def exported(checkpoint, tmp_path) -> Path:
    path = tmp_path / "tiny.onnx"
    psaflow_json("export", checkpoint, "--out", path)
    return path


def test_evaluate_with_runtime_gives_the_same_top1_and_names_what_ran(checkpoint, exported, data):
    plain = psaflow_json("evaluate", checkpoint, "--data", data)
    for source in (checkpoint, exported):
        fused = psaflow_json("evaluate", source, "--data", data, "--runtime", "--threads", 1)
        assert fused["top1"] == plain["top1"]
        assert (fused["engine"], fused["threads"]) == ("onnxruntime", 1)
        if available():
            assert fused["kernels"] == {"psaflow.PatchLinear": 1, "psaflow.TokenLinear": 2, "psaflow.Linear": 4,
                                        "psaflow.TokenMean": 1, "psaflow.LinearSum": 1}  # fmt: skip
            assert fused["isa"] in available()
        assert 0 < fused["latency_ms"]["median"] <= fused["latency_ms"]["p99"]
        assert fused["images_per_second"] > 0


def test_evaluate_runs_an_onnx_as_it_is_written(exported, data):
    result = psaflow_json("evaluate", exported, "--data", data, "--no-kernels")
    assert (result["kernels"], result["isa"]) == ({}, None)
    assert not any(name.endswith("Linear") for name in psaflow_json("evaluate", exported, "--data", data)["kernels"])


def test_the_environment_lowers_the_instructions_of_evaluate(exported, data, monkeypatch):
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PSAFLOW_ISA", "portable")
    assert psaflow_json("evaluate", exported, "--data", data, "--runtime")["isa"] == "portable"


def test_runtime_serves_the_int8_model_only(checkpoint, data):
    result = psaflow("evaluate", checkpoint, "--stage", "float", "--runtime", "--data", data)
    assert result.exit_code == 1
    assert "--runtime serves the int8 model" in result.stderr


def test_build_writes_the_fused_graph_beside_the_integer_one(checkpoint, data, tmp_path):
    report = psaflow_json("build", checkpoint, "--out", tmp_path / "b", "--until", "integer", "--data", data)
    fused, integer = (onnx.load(tmp_path / "b" / name) for name in ("runtime.onnx", "3_integer.onnx"))
    assert is_fused(fused)
    assert not is_fused(integer)
    assert report["accuracy"]["runtime"] == report["accuracy"]["integer"]
    assert report["agreement"]["runtime"]["different_logits"] == report["agreement"]["integer"]["different_logits"]
    assert {p["stage"] for p in report["passes"]} >= {"integer", "runtime"}
    images = np.load(data)["x_test"]
    answers = [session(model).run(None, {"pixels": images})[0] for model in (fused, integer)]
    assert (answers[0] == answers[1]).all()


def test_a_fused_file_is_served_as_it_is(exported, tmp_path):
    onnx.save(served(exported), tmp_path / "fused.onnx")
    assert served(tmp_path / "fused.onnx") == onnx.load(tmp_path / "fused.onnx")


def test_latency_is_that_of_one_image():
    sizes = []
    result = latency(lambda images: sizes.append(images.shape), np.zeros((32, 32, 3), np.uint8))  # type: ignore[arg-type]
    assert set(sizes) == {(1, 32, 32, 3)}
    assert result["runs"] <= len(sizes)
    assert result["median"] <= result["p99"]
