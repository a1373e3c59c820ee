"""Models of other tools through the commands: built down to integers, evaluated on inputs of their own, refused in one line."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from custom_ops.runtime import session
from pipelines.build import FILES
from pipelines.images import random_inputs
from pipelines.numpy_graph import reference_of
from tests.passes import foreign
from tests.pipelines.conftest import psaflow, psaflow_json

MODELS = {"onnxruntime": foreign.onnxruntime_mlp, "brevitas": foreign.brevitas_mlp, "mixer": lambda: foreign.mixer(False)}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / f"{request.param}.onnx"
    onnx.save(MODELS[request.param](), path)
    return path


@pytest.fixture(scope="module")
def built(model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("build") / "b"
    psaflow_json("build", model, "--out", out, "--until", "integer")
    return out


def test_a_build_ends_in_integers_and_says_what_was_rounded(built, model):
    report = json.loads((built / "report.json").read_text())
    assert sorted(p.name for p in built.glob("*.onnx")) == sorted(FILES[s] for s in ("exported", "tidy", "streamlined", "integer", "runtime"))
    assert [p["name"] for p in report["passes"] if p["mismatches"]] == []
    assert set(report["accuracy"].values()) == {None}
    assert all(a["different_predictions"] == 0 for a in report["agreement"].values())
    rounded = report["requantization"]
    assert (rounded is None) == (model.stem == "brevitas")
    assert "Ops by stage" in (built / "report.md").read_text()
    if rounded:
        assert rounded["worst"] < 2**-10 and f"{rounded['tensors']} tensors whose scales" in (built / "report.md").read_text()
    exported, integer = report["ops"]["exported"], report["ops"]["integer"]
    assert not {"Gemm", "MatMul", "Quant", "DequantizeLinear", "Sigmoid"} & set(integer)
    assert integer["QuantizeLinear"] == 1 and sum(integer.values()) < sum(exported.values())


def test_numpy_gives_the_integers_of_onnxruntime(built):
    integer = onnx.load(built / FILES["integer"])
    x = random_inputs("integer", integer, 200, 5)
    opened = session(integer, kernels=False)
    assert (reference_of(integer)(x) == opened.run(None, {opened.get_inputs()[0].name: x})[0]).all()


@pytest.fixture
def inputs(model, tmp_path) -> Path:
    x = random_inputs("model", onnx.load(model), 40, 3)
    np.savez(tmp_path / "in.npz", x=x, y=np.arange(40) % foreign.CLASSES)
    return tmp_path / "in.npz"


def test_every_form_has_the_same_top1_on_inputs_of_its_own(model, built, inputs):
    forms = [(model,), (model, "--runtime"), *((built / f,) for f in (FILES["integer"], FILES["runtime"]))]
    top1 = [psaflow_json("evaluate", *form, "--inputs", inputs)["top1"] for form in forms]
    assert top1 == [top1[0]] * len(forms)
    report = psaflow_json("build", model, "--out", inputs.parent / "b", "--until", "integer", "--inputs", inputs)
    assert report["accuracy"]["integer"] == top1[0]


def test_without_classes_there_is_no_top1(model, inputs):
    with np.load(inputs) as held:
        np.savez(inputs, x=held["x"])
    assert psaflow_json("evaluate", model, "--inputs", inputs)["top1"] is None


def refused(*arguments: object) -> str:
    result = psaflow(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_inputs_that_do_not_fit_are_named(model, inputs, data, checkpoint):
    with np.load(inputs) as held:
        x, y = held["x"], held["y"]
    for arrays, words in (({"x": x[..., :-1]}, "x float32"), ({"x": x.astype(np.float64)}, "x float64"), ({"y": y}, "no x"),
                          ({"x": x, "y": y[:-1]}, "y int64 [39]"), ({"x": x[:0]}, "x float32 [0")):  # fmt: skip
        np.savez(inputs, **arrays)
        for command in (("evaluate", model), ("build", model, "--out", inputs.parent / "b")):
            line = refused(*command, "--inputs", inputs)
            assert words in line and "in.npz" in line
    inputs.write_text("text")
    assert "not a readable .npz" in refused("evaluate", model, "--inputs", inputs)
    assert "no such file" in refused("evaluate", model, "--inputs", inputs.parent / "no.npz")
    assert "--inputs" in refused("evaluate", model, "--data", data)
    assert "takes pixels" in refused("evaluate", checkpoint, "--inputs", inputs)
    assert not (inputs.parent / "b").exists() and not (inputs.parent / "b.partial").exists()


def test_a_stage_behind_integers_names_what_it_does_not_take(model, tmp_path):
    line = refused("build", model, "--out", tmp_path / "b", "--until", "dataflow")
    assert line.startswith("psaflow: ") and ": " in line.removeprefix("psaflow: ")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("change", "words"), [
    (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 4), "dynamic batch"),
    (lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value"), "known shape"),
    (lambda m: m.graph.node[0].input.__setitem__(0, "lost"), "made by no node"),
])  # fmt: skip
def test_a_model_that_cannot_be_built_is_refused_before_anything_is_written(tmp_path, change, words):
    broken = onnx.ModelProto.FromString(foreign.onnxruntime_mlp().SerializeToString())
    change(broken)
    onnx.save(broken, tmp_path / "m.onnx")
    assert words in refused("build", tmp_path / "m.onnx", "--out", tmp_path / "b", "--until", "integer")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
