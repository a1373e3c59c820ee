"""The whole road on a tiny network: checkpoint, graphs, RTL, simulation, place and route, report."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from accel import tools
from pipelines.build import FILES
from tests.pipelines.conftest import psaflow, psaflow_json

pytestmark = [pytest.mark.slow, pytest.mark.tools]


@pytest.fixture(scope="session")
def report(build) -> dict:
    return json.loads((build / "report.json").read_text())


def test_report_has_the_keys_that_others_read(report):
    for key in ("passes", "accuracy", "cycles_per_image", "resources", "fmax_mhz", "images_per_second", "seconds"):
        assert report[key], key
    assert {"name", "mismatches"} <= set(report["passes"][0])
    assert set(report["accuracy"]) == {"checkpoint", *FILES}


def test_the_schedule_foretells_the_simulated_cycles(report):
    foretold = report["schedule"]
    assert foretold["cycles_per_image"] == report["cycles_per_image"]
    assert foretold["latency_cycles"] == report["latency_cycles"] == sum(step["cycles"] for step in foretold["latency"])


def test_no_pass_changed_an_answer(report):
    assert [p["name"] for p in report["passes"] if p["mismatches"]] == []
    assert len(report["passes"]) > 30


def test_every_stage_predicts_what_brevitas_predicts(report):
    assert all(a["different_predictions"] == 0 for a in report["agreement"].values())
    if report["boundary_entries"] == 0:
        assert all(a["different_logits"] == 0 for a in report["agreement"].values())


def test_every_stage_is_a_checked_model_with_shapes_that_plain_onnxruntime_runs(build, data):
    images = np.load(data)["x_test"]
    scores = []
    for file in FILES.values():
        model = onnx.load(build / file)
        onnx.checker.check_model(model, full_check=True)
        shaped = {v.name for v in (*model.graph.value_info, *model.graph.output) if v.type.tensor_type.HasField("shape")}
        assert {o for n in model.graph.node for o in n.output} <= shaped, file
        scale = next((float(p.value) for p in model.metadata_props if p.key == "logits_scale"), 1.0)
        session = onnxruntime.InferenceSession(build / file)
        scores.append(session.run(None, {session.get_inputs()[0].name: images})[0].astype(np.float64) * scale)
    for other in scores[1:]:
        assert (other == scores[0]).all()


def test_every_stage_opens_in_netron(build):
    package = importlib.util.find_spec("netron")
    if package is None or shutil.which("node") is None:
        pytest.skip("needs netron (pip install netron) and node")
    script = Path(__file__).with_name("open_in_netron.mjs")
    files = [build / file for file in FILES.values()]
    done = subprocess.run(["node", script, Path(package.origin).parent, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    for file in files:
        assert shown[file.name]["nodes"] == [n.op_type for n in onnx.load(file).graph.node]
        assert shown[file.name]["inputs"] == ["pixels"]


def test_simulated_logits_and_every_stream_equal_onnxruntime_under_random_stalls(build, data):
    result = psaflow_json("simulate", build, "--images", 32, "--stalls", 0.4, "--data", data)
    assert result["images"] == 32
    assert result["mismatches"] == 0
    assert result["not_compared"] == []
    assert len(result["links"]) > 30


def test_cycles_per_image_are_the_folding_s(report):
    assert report["cycles_per_image"] == report["config"]["target_cycles"]


def test_bitstream_unpacks_and_meets_its_clock(build, report, tmp_path):
    assert report["fmax_mhz"] >= 50
    shutil.copy(build / "synth" / "psaflow.bit", tmp_path / "a.bit")
    tools.run("ecpunpack", ["a.bit", "a.config"], tmp_path)
    assert ".device LFE5U-25F" in (tmp_path / "a.config").read_text()


def test_simulate_names_the_layer_of_a_wrong_weight(build, data, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(build, broken)
    memory = next(broken.glob("rtl/blocks_0_fc1_mat_vec*weight*.hex"))
    lines = memory.read_text().splitlines()
    lines[0] = "".join("0123456789abcdef"[15 - int(c, 16)] for c in lines[0])
    memory.write_text("\n".join(lines) + "\n")
    result = psaflow("simulate", broken, "--images", 2, "--data", data, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["mismatches"] > 0
    assert "blocks_0_fc1_mat_vec" in result.stderr


def test_build_of_an_exported_model_equals_build_of_its_checkpoint(build, checkpoint, data, tmp_path):
    exported = tmp_path / "tiny.onnx"
    psaflow_json("export", checkpoint, "--out", exported)
    psaflow_json("build", exported, "--out", tmp_path / "b", "--config", "ecp5_25f", "--until", "dataflow", "--data", data)
    for file in FILES.values():
        assert (tmp_path / "b" / file).read_bytes() == (build / file).read_bytes()


def test_without_data_the_build_runs_on_random_images_and_says_that_accuracy_is_not_measured(checkpoint, tmp_path, monkeypatch):
    monkeypatch.delenv("PSAFLOW_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("train.torchvision_import.datasets.CIFAR10", _no_network)
    report = psaflow_json("build", checkpoint, "--out", tmp_path / "b", "--config", "ecp5_25f", "--until", "integer")
    assert set(report["accuracy"].values()) == {None}
    assert all(p["mismatches"] == 0 for p in report["passes"])
    assert "not measured" in (tmp_path / "b" / "report.md").read_text()


def _no_network(*_args, **_options):
    raise RuntimeError("no network")
