"""psaflow finn: the shipped network in FINN, and what is said where it cannot be done."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from qonnx.core.modelwrapper import ModelWrapper

from tests.passes.graphs import constant
from tests.pipelines.conftest import psaflow, psaflow_json

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "lerp_psa_h96.pt"
WITHOUT = "import sys; sys.modules[{module!r}] = None; from pipelines.cli import main; main()"


@pytest.fixture(scope="module")
def integer(tmp_path_factory) -> Path:
    """The shipped network as integers."""
    from pipelines.serving import integer_model

    path = tmp_path_factory.mktemp("integer") / "3_integer.onnx"
    onnx.save(integer_model(SHIPPED), path)
    return path


@pytest.mark.slow
def test_the_whole_shipped_network_is_equal_in_finn_and_estimated(finn, integer, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    before = dict(os.environ)
    out = tmp_path / "finn"
    result = psaflow_json("finn", integer, "--out", out, "--images", 2, "--data", data)
    assert (result["mismatches"], result["images"]) == (0, 2)
    assert result["values"] > 500_000
    assert result["layers"] == 40 < result["tensors"]
    assert result["max_cycles"] == max(n["cycles"] for n in result["nodes"]) <= 49152
    assert len(result["nodes"]) == 70
    for name in ("LUT", "BRAM_18K", "DSP"):
        assert result["total"][name] == sum(n[name] or 0 for n in result["nodes"]) > 0
    for node in result["nodes"]:
        assert (node["LUT"] is None) == node["op"].startswith(("OuterShuffle", "DuplicateStreams", "GlobalAccPool")), node
    assert json.loads((out / "estimates.json").read_text()) == {k: v for k, v in result.items() if k != "table"}
    rows = (out / "estimates.md").read_text().splitlines()
    assert len([r for r in rows if r.startswith("| ")]) == 2 + 70 + 1
    folding = json.loads((out / "folding.json").read_text())
    assert {n["node"]: {k: n[k] for k in ("PE", "SIMD") if k in n} for n in result["nodes"]} == {k: v for k, v in folding.items() if k != "Defaults"}
    for file in ("finn.onnx", "finn_specialized.onnx"):
        assert {n.domain.rsplit(".", 1)[-1] for n in onnx.load(out / file).graph.node} <= {"fpgadataflow", "rtl", "hls"}
    assert sorted(p.name for p in (tmp_path / "home").iterdir() if p.name != ".cache") == []
    assert dict(os.environ) == before
    assert not (Path.cwd() / "FINN_TMP").exists()


def test_another_board_and_a_smaller_target_fold_further(finn, integer, data, tmp_path):
    result = psaflow_json("finn", integer, "--out", tmp_path / "z1", "--images", 1, "--data", data, "--board", "Pynq-Z1", "--target-cycles", 6144)
    assert result["part"] == "xc7z020clg400-1"
    assert result["max_cycles"] <= 6144 and result["mismatches"] == 0


def test_a_wrong_value_is_found_and_named(finn, integer):
    from pipelines.finn import compare, to_finn

    model, proto = to_finn(onnx.load(integer)), onnx.load(integer)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    lut = next(n for n in model.graph.node if n.op_type == "PSALUT" and n.output[0] == "blocks_2_act1")
    table = constant(model.model, lut.input[1]).copy()
    table[5] = np.where(table[5] == 0, 1, 0)
    model.set_initializer(lut.input[1], table)
    found = compare(model, proto, images)
    assert found["mismatches"] > 0
    assert found["first_wrong"].startswith("blocks_2_act1 of image 0 at element ")


def test_a_layer_that_finn_lacks_is_refused(finn, integer):
    from pipelines.console import UserError
    from pipelines.finn import compare, to_finn

    model, proto = to_finn(onnx.load(integer)), onnx.load(integer)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["elsewhere" if n == "blocks_1_fc1" else n for n in names]
    with pytest.raises(UserError, match="blocks_1_fc1: is a layer of the integer graph and not in FINN's"):
        compare(ModelWrapper(model.model), proto, np.zeros((1, 32, 32, 3), np.uint8))


@pytest.mark.parametrize(("options", "words"), [
    (["--board", "Zybo"], "--board Zybo: FINN knows Ultra96, "),
    (["--target-cycles", "63"], "--target-cycles: input: no folding of its PSALUT_rtl reaches 63 cycles per image; raise the target"),
    (["--images", "1000"], "--images 1000: there are 48"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(finn, integer, data, tmp_path, options, words):
    result = psaflow("finn", integer, "--out", tmp_path / "out", "--data", data, *options)
    assert result.exit_code == 1
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_graph_that_no_pass_takes_is_refused_by_the_pass_that_sees_it(finn, integer, data, tmp_path):
    model = onnx.load(integer)
    bias = next(i for i in model.graph.initializer if "logits" in i.name and list(i.dims) == [10])
    bias.CopyFrom(numpy_helper.from_array(np.full(10, 2**30, np.int32), bias.name))
    onnx.save(model, tmp_path / "wide.onnx")
    result = psaflow("finn", tmp_path / "wide.onnx", "--out", tmp_path / "out", "--data", data)
    assert result.exit_code == 1
    assert result.stderr.startswith("psaflow: CheckAccumulators: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("module", "line"), [
    ("finn", "psaflow: FINN is not installed; run make finn"), ("scipy", "psaflow: FINN needs scipy, which is not installed; run make finn"),
])  # fmt: skip
def test_without_finn_the_command_says_what_to_run(integer, data, tmp_path, module, line):
    if module != "finn" and importlib.util.find_spec("finn") is None:
        pytest.skip("FINN is not installed; run make finn")
    done = subprocess.run([sys.executable, "-c", WITHOUT.format(module=module), "finn", integer, "--out", tmp_path / "out", "--data", data],
                          capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])  # fmt: skip
    assert (done.returncode, done.stderr.strip().splitlines()[-1], done.stdout) == (1, line, "")
    assert not (tmp_path / "out").exists()


def test_without_finn_the_passes_still_write_its_nodes(integer):
    text = ("import sys; sys.modules['finn'] = None; import onnx; from qonnx.core.modelwrapper import ModelWrapper; from passes import TO_FINN\n"
            f"model = ModelWrapper(onnx.load({str(integer)!r}))\n"
            "for step in TO_FINN: model = model.transform(step, cleanup=False)\n"
            "print(len(model.graph.node))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "70"
