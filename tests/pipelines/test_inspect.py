"""psaflow inspect: counts against those made by hand, differences, and bad input."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from custom_ops.load import ModelError, parse
from pipelines.inspect import differences, rows_of
from tests.passes import foreign
from tests.passes.mutants import mutant
from tests.pipelines.conftest import psaflow, psaflow_json

NETWORK = """
<ir_version: 10, opset_import: ["" : 18, "psaflow" : 1]>
network (int8[N, 4, 6] x) => (int32[N, 4, 5] y)
{
  [lut] codes = psaflow.ChannelLUT <rounding = "HALF_EVEN", lowest = -128> (x, table)
  [product] y = MatMulInteger (codes, weight)
}
"""


def network(outputs: int = 5) -> onnx.ModelProto:
    model = onnx.parser.parse_model(NETWORK.replace("4, 5]", f"4, {outputs}]"))
    for name, shape in (("table", (6, 256)), ("weight", (6, outputs))):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.int8), name))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("codes", onnx.TensorProto.INT8, ["N", 4, 6]))
    return model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(network(), tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def test_counts_are_those_made_by_hand() -> None:
    lut, product = rows_of(network())
    assert (lut.node, lut.op, lut.inputs, lut.output, lut.datatype) == ("lut", "ChannelLUT", "Nx4x6", "Nx4x6", "INT8")
    assert (lut.macs, lut.parameters, lut.table_bits) == (0, 6 * 256, 6 * 256 * 8)
    assert (product.macs, product.parameters, product.table_bits) == (4 * 6 * 5, 6 * 5, 0)
    assert product.output == "Nx4x5"


def test_shapes_that_a_file_lacks_are_inferred() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 18]>
        network (float[N, 3] x, float[3, 7] w) => (float[N, 2] y) <float[7, 2] v = {1,1,1,1,1,1,1,1,1,1,1,1,1,1}>
        { h = MatMul (x, w)  y = MatMul (h, v) }""")
    first, second = rows_of(model)
    assert (first.output, first.macs, second.macs) == ("Nx7", 3 * 7, 7 * 2)


def test_every_stage_of_a_build_has_the_macs_of_the_network(build: Path) -> None:
    """2 blocks, 8 channels, 64 tokens: embedding, two token mixers, four products along channels, classifier."""
    expected = 64 * 48 * 8 + 2 * (64 * 64 * 8 + 2 * 64 * 8 * 8) + 8 * 10
    stages = sorted(build.glob("[0-9]_*.onnx"))
    found = psaflow_json("inspect", *stages)["models"]
    assert len(found) == 5
    assert {model["file"]: model["macs"] for model in found} == {str(stage): expected for stage in stages}


def test_tables_of_the_integer_stage_are_256_bytes_per_channel(build: Path) -> None:
    rows = psaflow_json("inspect", build / "3_integer.onnx")["models"][0]["rows"]
    bits = [row["table_bits"] for row in rows if row["op"] == "ChannelLUT"]
    assert sorted(bits) == [3 * 256 * 8, *[8 * 256 * 8] * 4]


def test_what_is_printed_has_a_line_per_node_and_the_sums(file: Path) -> None:
    lines = psaflow("inspect", file).output.splitlines()
    assert lines[0] == str(file)
    assert [line.split()[0] for line in lines[1:]] == ["node", "lut", "product", "total"]
    assert lines[-1].split()[-3:] == ["120", str(6 * 256 + 30), str(6 * 256 * 8)]


def test_differences_name_what_changed() -> None:
    lines = differences(rows_of(network()), rows_of(network(outputs=3)))
    assert lines == ["macs: 120 -> 72", "parameters: 1566 -> 1554", "product: output Nx4x5 -> Nx4x3, macs 120 -> 72, parameters 30 -> 18"]


def test_a_model_does_not_differ_from_itself(file: Path) -> None:
    assert psaflow_json("inspect", "--diff", file, file) == {"changes": ["no difference"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--diff", "network.onnx"], "--diff compares two models, got 1"),
        (["--netron", "network.onnx", "network.onnx"], "--netron opens one model, got 2"),
        (["none.onnx"], "no file"),
        (["text.onnx"], "not an ONNX model"),
    ],
)
def test_bad_input_is_one_line(file: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.chdir(file.parent)
    Path("text.onnx").write_text("no model")
    result = psaflow("inspect", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("psaflow: ") and says in result.stderr and result.stderr.count("\n") == 1


FOREIGN: dict[str, Callable[[], onnx.ModelProto]] = {
    "QONNX": foreign.brevitas_mlp, "QCDQ, constants as nodes": lambda: foreign.gelu_qcdq(13), "mixer": lambda: foreign.mixer(True),
    "onnxruntime": foreign.onnxruntime_mlp,
}  # fmt: skip
MACS = {"QONNX": 12 * 16 + 16 * 5, "QCDQ, constants as nodes": 12 * 16 + 16 * 10 + 10 * 5,
        "mixer": 2 * 8 * 10 * 6 + 2 * 6 * 12 * 8 + 6 * 5, "onnxruntime": 12 * 16 + 16 * 16 + 16 * 5}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_a_model_of_another_tool_has_its_macs_before_and_behind_the_passes(name: str) -> None:
    from passes import INTEGER, STREAMLINE, TIDY
    from passes.check import CheckedPasses

    model = FOREIGN[name]()
    rows = rows_of(model)
    assert sum(row.macs for row in rows) == MACS[name]
    assert all("?" not in row.output and row.datatype != "?" for row in rows)
    integer = CheckedPasses(model, foreign.inputs(model, 4, 0)).run("all", (*TIDY, *STREAMLINE, *INTEGER))
    assert sum(row.macs for row in rows_of(integer)) == MACS[name]
    assert any(line.startswith("MatMulInteger: 0 -> ") for line in differences(rows, rows_of(integer)))


@pytest.mark.parametrize("name", FOREIGN)
def test_no_damaged_model_stops_it(name: str) -> None:
    original = FOREIGN[name]().SerializeToString()
    for seed in range(300):
        _, content = mutant(original, seed)
        try:
            model = parse(content, "damaged")
        except ModelError:
            continue  # told in one line
        rows = rows_of(model)
        assert len(rows) == len(model.graph.node)
        assert differences(rows, rows) == []


def test_names_cannot_speak_to_the_terminal(file: Path) -> None:
    model = onnx.load(file)
    model.graph.node[0].name = "lut\x1b[2J\rpwned"
    onnx.save(model, file)
    output = psaflow("inspect", file).output
    assert "\x1b" not in output and "\r" not in output and "lut\\x1b[2J\\rpwned" in output
