"""Bad input: one line that says what, where and what to do; status 1 or 2; nothing half-written."""

import shutil

import numpy as np
import onnx
import pytest
import torch

from accel import tools
from tests.pipelines.conftest import psaflow, psaflow_json


@pytest.fixture
def exported(checkpoint, tmp_path):
    path = tmp_path / "tiny.onnx"
    psaflow_json("export", checkpoint, "--out", path)
    return path


def refused(*arguments: object, says: tuple[str, ...], status: int = 1) -> None:
    """The command ends with `status` and its last line on stderr holds every word of `says`."""
    result = psaflow(*arguments)
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    for words in says:
        assert words in last, last


def test_missing_checkpoint(tmp_path, data):
    refused("build", tmp_path / "no.pt", "--out", tmp_path / "b", "--data", data, says=("no.pt", "no such checkpoint", "psaflow train"))
    assert not (tmp_path / "b").exists() and not (tmp_path / "b.partial").exists()


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_corrupt_checkpoint(checkpoint, tmp_path, data, damage):
    content = checkpoint.read_bytes()
    broken = tmp_path / "broken.pt"
    broken.write_bytes({"cut": content[: len(content) // 2], "noise": b"\x80\x02" + b"x" * 100, "empty": b""}[damage])
    for command in (("evaluate", broken), ("build", broken, "--out", tmp_path / "b"), ("export", broken)):
        refused(*command, "--data", data, says=("broken.pt", "not a readable checkpoint"))
    assert not (tmp_path / "b").exists() and not broken.with_suffix(".onnx").exists()


def test_checkpoint_of_float_weights_without_quantizers(checkpoint, tmp_path, data):
    content = torch.load(checkpoint, weights_only=True)
    del content["quantized"]
    torch.save(content, tmp_path / "float.pt")
    refused("build", tmp_path / "float.pt", "--out", tmp_path / "b", "--data", data, says=("float weights without quantizers",))


def test_weights_that_do_not_fit_the_recipe(checkpoint, tmp_path, data):
    content = torch.load(checkpoint, weights_only=True)
    content["recipe"]["model"]["embed"] = 16
    torch.save(content, tmp_path / "other.pt")
    refused("evaluate", tmp_path / "other.pt", "--data", data, says=("other.pt", "do not fit its recipe"))


def test_truncated_onnx(exported, tmp_path, data):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:-500])
    for command in (("evaluate", broken), ("build", broken, "--out", tmp_path / "b")):
        refused(*command, "--data", data, says=("broken.onnx", "truncated"))
    assert not (tmp_path / "b").exists()


def test_unsupported_op_is_named_with_its_inputs(exported, tmp_path, data):
    model = onnx.load(exported)
    node = next(n for n in model.graph.node if n.op_type == "ReduceMean")
    node.op_type = "ReduceMax"
    onnx.save(model, tmp_path / "max.onnx")
    refused("build", tmp_path / "max.onnx", "--out", tmp_path / "b", "--config", "ecp5_25f", "--data", data,
            says=("ReduceMax", "supported"))  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_float_weights_in_an_onnx_are_named(exported, tmp_path, data):
    model = onnx.load(exported)
    quant = next(n for n in model.graph.node if n.name == "blocks_0_fc1_weight")
    for node in model.graph.node:
        node.input[:] = [quant.input[0] if i == quant.output[0] else i for i in node.input]
    model.graph.node.remove(quant)
    onnx.save(model, tmp_path / "float.onnx")
    refused("build", tmp_path / "float.onnx", "--out", tmp_path / "b", "--config", "ecp5_25f", "--data", data,
            says=("blocks_0_fc1", "float weights without a quantizer"))  # fmt: skip


@pytest.mark.parametrize(("text", "says"), [
    ("folding: {embed_mat_vec: {PE: 5}}", ("embed_mat_vec", "PE=5 must divide 8", "1, 2, 4, 8")),
    ("folding: {embed_matvec: {PE: 2}}", ("no node 'embed_matvec'", "embed_mat_vec")),
    ("target_cycle: 100", ("unknown key 'target_cycle'", "target_cycles")),
    ("mhz: fast", ("mhz", "fast")),
    ("mhz: [", ("not valid YAML",)),
    ("target_cycles: 10", ("no folding reaches 10 cycles",)),
])  # fmt: skip
def test_configuration(checkpoint, tmp_path, data, text, says):
    config = tmp_path / "c.yaml"
    config.write_text(text + "\n")
    refused("build", checkpoint, "--out", tmp_path / "b", "--config", config, "--until", "dataflow", "--data", data, says=says)
    assert not (tmp_path / "b").exists()


def test_recipe_with_unknown_key(tmp_path, data):
    (tmp_path / "r.yaml").write_text("name: a\nmodel: {hiden: 96}\n")
    refused("train", tmp_path / "r.yaml", "--out", tmp_path / "run", "--data", data, says=("r.yaml", "model.hiden", "hidden"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("arrays", "says"), [
    ({"x_train": (4, 32, 32), "x_test": (4, 32, 32, 3)}, ("x_train", "[n, 32, 32, 3]")),
    ({"x_train": (4, 32, 32, 3), "x_test": (4, 28, 28, 3)}, ("x_test", "[n, 32, 32, 3]")),
    ({"x_train": (4, 32, 32, 3)}, ("x_test is missing",)),
])  # fmt: skip
def test_data_of_wrong_shapes(checkpoint, tmp_path, arrays, says):
    labels = {"y_train": np.zeros(4, int), "y_test": np.zeros(4, int)}
    np.savez(tmp_path / "d.npz", **{k: np.zeros(s, np.uint8) for k, s in arrays.items()}, **labels)
    refused("evaluate", checkpoint, "--data", tmp_path / "d.npz", says=("d.npz", *says))


def test_missing_and_foreign_data(checkpoint, tmp_path):
    refused("evaluate", checkpoint, "--data", tmp_path / "no.npz", says=("no.npz", "no such file"))
    (tmp_path / "text.npz").write_text("hello")
    refused("evaluate", checkpoint, "--data", tmp_path / "text.npz", says=("text.npz", "not a readable .npz"))
    refused("evaluate", checkpoint, "--data", tmp_path, says=("cifar-10-batches-py",))


def test_a_missing_tool_is_named_with_its_package(build, data, tmp_path, monkeypatch, checkpoint):
    monkeypatch.setattr(tools, "_located", lambda tool: None)
    refused("simulate", build, "--images", 1, "--data", data, says=("verilator", "apt install"))
    refused("build", checkpoint, "--out", tmp_path / "b", "--config", "ecp5_25f", "--data", data, says=("install",))
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.tools
def test_device_too_small(checkpoint, tmp_path, data, build):
    (tmp_path / "c.yaml").write_text("target_cycles: 1024\nmargin: 0.1\ndevice: LFE5U-12F\nsimulate_images: 2\n")
    refused("build", checkpoint, "--out", tmp_path / "b", "--config", tmp_path / "c.yaml", "--data", data,
            says=("LFE5U-12F", "1024 cycles per image need", "more than"))  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_out_that_is_no_build_is_left_alone(checkpoint, tmp_path, data):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused("build", checkpoint, "--out", tmp_path / "mine", "--until", "tidy", "--data", data, says=("mine", "no earlier build"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_simulate_refuses_a_folder_that_is_no_finished_build(tmp_path, data):
    refused("simulate", tmp_path, "--data", data, says=("no finished build", "psaflow build"))


def test_training_never_overwrites_a_run(checkpoint, recipe, data):
    refused("train", recipe, "--out", checkpoint.parent, "--data", data, says=("holds a run already", "--resume"))


def test_unknown_option_and_stage_end_with_status_2(checkpoint, tmp_path):
    refused("build", checkpoint, "--out", tmp_path / "b", "--until", "lunch", says=("lunch",), status=2)
    refused("evaluate", checkpoint, "--fast", says=("--fast",), status=2)


def test_only_folders_that_a_build_made_are_replaced(checkpoint, tmp_path, data, monkeypatch):
    for name in ("mine", "b.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text("{}")
    for out in (tmp_path / "mine", tmp_path / "b"):
        refused("build", checkpoint, "--out", out, "--until", "tidy", "--data", data, says=("no earlier build",))
    psaflow_json("build", checkpoint, "--out", tmp_path / "c", "--until", "tidy", "--data", data)
    inside = tmp_path / "c" / "deep"
    inside.mkdir()
    monkeypatch.chdir(inside)
    refused("build", checkpoint, "--out", "..", "--until", "tidy", "--data", data, says=("current folder",))
    refused("build", tmp_path / "c" / "1_tidy.onnx", "--out", tmp_path / "c", "--until", "tidy", "--data", data, says=("holds the model",))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "c")
    psaflow_json("build", checkpoint, "--out", "link", "--until", "tidy", "--data", data)
    assert not inside.exists() and (tmp_path / "c" / "report.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.partial", "c", "link", "mine"]


def test_models_of_another_kind(exported, tmp_path, data):
    model = onnx.load(exported)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    for command in (("evaluate", tmp_path / "one.onnx"), ("build", tmp_path / "one.onnx", "--out", tmp_path / "b")):
        refused(*command, "--data", data, says=("one.onnx", "dynamic batch"))
    flat = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (uint8[N,32,32,3] x) => (float[N,3072] y)'
                                   " { f = Flatten (x) y = Cast <to = 1> (f) }")  # fmt: skip
    onnx.save(flat, tmp_path / "flat.onnx")
    refused("evaluate", tmp_path / "flat.onnx", "--data", data, says=("flat.onnx", "3072", "[N, 10]"))
    refused("evaluate", exported, "--stage", "float", "--data", data, says=("--stage float",))


@pytest.mark.parametrize(("part", "value"), [("recipe", "x"), ("quantized", [1]), ("metrics", {"a": torch.zeros(1)}), ("quantized", {"a": 1})])
def test_checkpoints_whose_content_has_the_wrong_kind(checkpoint, tmp_path, data, part, value):
    content = torch.load(checkpoint, weights_only=True)
    content[part] = value
    torch.save(content, tmp_path / "odd.pt")
    refused("build", tmp_path / "odd.pt", "--out", tmp_path / "b", "--until", "tidy", "--data", data, says=("odd.pt",))


def test_unknown_device_and_key_are_refused_before_any_work(checkpoint, tmp_path, data):
    for text, says in (("device: LFE5U-99F", ("LFE5U-99F", "LFE5U-85F")), ("folding: {embed_mat_vec: {PEE: 3}}", ("PEE", "SIMD")),
                       ("mhz: .inf", ("mhz", "finite"))):  # fmt: skip
        (tmp_path / "c.yaml").write_text(text)
        refused("build", checkpoint, "--out", tmp_path / "b", "--config", tmp_path / "c.yaml", "--data", data, says=says)
        assert not (tmp_path / "b").exists() and not (tmp_path / "b.partial").exists()


def test_export_onto_a_folder_is_refused_and_leaves_nothing(checkpoint, tmp_path):
    (tmp_path / "folder").mkdir()
    refused("export", checkpoint, "--out", tmp_path / "folder", says=("is a folder",))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.tools
def test_simulate_of_a_damaged_design_is_named(build, tmp_path, data):
    shutil.copytree(build, tmp_path / "b")
    (tmp_path / "b" / "rtl" / "design.json").write_text("{")
    refused("simulate", tmp_path / "b", "--images", 1, "--data", data, says=("design.json", "damaged"))
