"""psaflow compress, and builds with smaller tables."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from custom_ops.runtime import session
from passes.expand_table import full_table
from passes.table_errors import tables_of
from pipelines.build import ALL_FILES
from pipelines.compression import calibration, code_counts, finer
from pipelines.config import Tables
from tests.pipelines.conftest import psaflow, psaflow_json

FAST = ("--images", 32, "--steps", 3)


@pytest.mark.parametrize("method", ["refine", "fit", "subsample"])
def test_what_is_written_has_the_knots_that_the_rows_say_and_runs(integer, data, tmp_path, method):
    out = tmp_path / "small.onnx"
    result = psaflow_json("compress", integer, "--out", out, "--every", 8, "--method", method, *FAST, "--data", data)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    tables = Tables(method=method, images=32)
    before, after = tables_of(finer(onnx.load(integer), tables, calibration(data, tables))), tables_of(model)
    assert [row["node"] for row in result["tables"]] == [table.node for table in after.values()]
    for row, (name, table) in zip(result["tables"], after.items(), strict=True):
        error = np.abs(table.full.astype(int) - before[name].full)
        assert (row["entries"], row["worst"], row["bits"]) == (table.knots.shape[1], error.max(), table.knots.size * 8)
    assert [row["entries"] for row in result["tables"]] == [256, 33, 33, 33, 33]
    assert result["full_bits"] == (3 + 4 * 8) * 256 * 8 and result["bits"] == 3 * 256 * 8 + 4 * 8 * 33 * 8
    images = np.load(data)["x_test"]
    outputs = [session(model, kernels=k).run(None, {"pixels": images})[0] for k in (True, False)]
    assert (outputs[0] == outputs[1]).all()
    assert psaflow_json("evaluate", out, "--runtime", "--data", data)["images"] == 48


def test_a_bound_on_every_entry_is_kept_and_fitting_is_its_method(integer, data, tmp_path):
    out = tmp_path / "small.onnx"
    result = psaflow_json("compress", integer, "--out", out, "--every", 16, "--worst", 1, "--images", 32, "--data", data)
    assert result["method"] == "fit" and max(row["worst"] for row in result["tables"]) <= 1


def test_a_bound_on_the_loss_is_kept_on_the_calibration_images(integer, data, tmp_path):
    out = tmp_path / "small.onnx"
    psaflow_json("compress", integer, "--out", out, "--every", 16, "--loss", 0, "--method", "fit", "--images", 64, "--data", data)
    cifar = np.load(data)
    right = [(session(p).run(None, {"pixels": cifar["x_train"]})[0].argmax(1) == cifar["y_train"]).mean() for p in (integer, out)]
    assert right[1] >= right[0]


def test_codes_are_counted_as_they_occur(integer, data):
    model, images = onnx.load(integer), np.load(data)["x_train"]
    counts = code_counts(model, images)
    for node in (n for n in model.graph.node if n.op_type == "ChannelLUT" and n.output[0] in counts):
        codes = session(model, outputs=[node.input[0]]).run(None, {"pixels": images})[0].reshape(-1, 8)
        for channel in range(8):
            assert (np.bincount(codes[:, channel].astype(int) + 128, minlength=256) == counts[node.output[0]][channel]).all()
    assert len(counts) == 4


def test_people_get_a_table_and_a_picture(integer, data, tmp_path):
    out = psaflow("compress", integer, "--out", tmp_path / "s.onnx", "--method", "fit", "--plot", tmp_path / "s.png", "--data", data)
    lines = out.stdout.splitlines()
    assert lines[0].split()[:3] == ["table", "rows", "entries"] and lines[-2].split()[0] == "total"
    assert "KiB of tables in place of 8.8 KiB" in lines[-1]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("options", "says"), [
    (("--worst", 3, "--method", "refine"), "worst 3 bounds every entry and method refine moves all knots together"),
    (("--plot", "s.pdf"), "--plot s.pdf"),
    (("--out", "small.txt"), "--out small.txt: must end in .onnx"),
])  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(integer, data, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    result = psaflow("compress", integer, "--out", "small.onnx", *options, "--data", data)
    assert result.exit_code == 1 and says in result.stderr and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_images_fitting_counts_all_codes_alike_and_refining_is_refused(integer, tmp_path, monkeypatch):
    monkeypatch.delenv("PSAFLOW_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("train.torchvision_import.datasets.CIFAR10", _no_network)
    result = psaflow_json("compress", integer, "--out", tmp_path / "s.onnx", "--method", "fit")
    assert {row["used_mean"] for row in result["tables"]} == {None}
    refused = psaflow("compress", integer, "--out", tmp_path / "t.onnx")
    assert refused.exit_code == 1 and "method refine needs training images" in refused.stderr
    assert not (tmp_path / "t.onnx").exists()


def _no_network(*_args, **_options):
    raise RuntimeError("no network")


@pytest.fixture(scope="module")
def small_build(integer, data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    config = folder / "small.yaml"
    config.write_text("target_cycles: 8192\ntables: {every: 16, method: refine, images: 32, steps: 3}\n")
    psaflow_json("build", integer, "--out", folder / "b", "--config", config, "--until", "dataflow", "--data", data)
    return folder / "b"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    return session(path, kernels=False).run(None, {"pixels": images})[0]


def test_a_build_with_smaller_tables_keeps_the_exact_stage_and_is_exact_from_the_integer_stage_on(small_build, data):
    images = np.load(data)["x_test"]
    found = {stage: logits(small_build / file, images) for stage, file in ALL_FILES.items()}
    assert (found["exact"] != found["integer"]).any()
    for stage in ("dataflow", "runtime"):
        assert (found[stage].reshape(found["integer"].shape) == found["integer"]).all()
    report = json.loads((small_build / "report.json").read_text())
    assert set(report["accuracy"]) == set(ALL_FILES)
    assert all(p["mismatches"] == 0 for p in report["passes"])
    assert {row["entries"] for row in report["tables"]} == {256, 17}
    assert "## Tables" in (small_build / "report.md").read_text()


def test_hardware_of_a_build_with_smaller_tables_holds_what_the_knots_give(small_build):
    model, knots = onnx.load(small_build / "4_dataflow.onnx"), tables_of(onnx.load(small_build / "3_integer.onnx"))
    held = [_initializer(model, n.input[1]) for n in model.graph.node if n.op_type == "ChannelLUT"]
    assert len(held) == len(knots)
    for table, expected in zip(held, knots.values(), strict=True):
        assert (full_table(table, "HALF_EVEN") == expected.full).all()


def _initializer(model: ModelProto, name: str) -> np.ndarray:
    return onnx.numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == name))


@pytest.mark.parametrize("tables", ["{every: 3}", "{method: guess}", "{worst: -1}", "{evry: 4}"])
def test_an_unknown_setting_is_refused(integer, data, tmp_path, tables):
    (tmp_path / "c.yaml").write_text(f"tables: {tables}\n")
    result = psaflow("build", integer, "--out", tmp_path / "b", "--config", tmp_path / "c.yaml", "--until", "tidy", "--data", data)
    assert result.exit_code == 1 and "c.yaml" in result.stderr and not (tmp_path / "b").exists()


def test_a_model_without_tables_is_written_as_it_is(without_tables, data, tmp_path):
    result = psaflow_json("compress", without_tables, "--out", tmp_path / "s.onnx", *FAST, "--data", data)
    assert [row["entries"] for row in result["tables"]] == [256]
    images = np.load(data)["x_test"]
    assert (logits(tmp_path / "s.onnx", images) == logits(without_tables, images)).all()
