"""The emitter: a small network with every op computes the reference's integers; what does not fit is refused by name."""

import json
import shutil
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accel import tools
from accel.emit import EmitError, emit
from accel.simulate import simulate
from custom_ops import HW_DOMAIN
from custom_ops.hw import OPS

from .conftest import random_int8

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)


class Builder:
    """Nodes of a small dataflow model, with shapes and reference values found by running each op's reference."""

    def __init__(self) -> None:
        self.nodes, self.initializers, self.rng = [], [], np.random.default_rng(7)
        self.values = {"pixels": IMAGES}

    def int32(self, low: int, high: int, n: int) -> np.ndarray:
        return self.rng.integers(low, high, n).astype(np.int32)

    def add(self, op: str, name: str, streams: str | list[str], *arrays: np.ndarray, **attributes) -> str:
        """One node; returns its (first) output tensor."""
        streams = [streams] if isinstance(streams, str) else streams
        constants = [f"{name}_{index}" for index in range(len(arrays))]
        for tensor, array in zip(constants, arrays, strict=True):
            self.initializers.append(numpy_helper.from_array(array, tensor))
        outputs = [f"{name}_a", f"{name}_b"] if op == "Fork" else [f"{name}_y"]
        self.nodes.append(
            helper.make_node(op, [*streams, *constants], outputs, name, domain=HW_DOMAIN, **attributes)
        )
        kept = {k: v for k, v in attributes.items() if k not in (*OPS[op].folding, "depth")}
        if op not in ("Fork", "Fifo", "WidthConverter"):
            given = [self.values[stream] for stream in streams]
            self.values[outputs[0]] = OPS[op].reference(*given, *arrays, **kept)
        else:
            self.values |= dict.fromkeys(outputs, self.values[streams[0]])
        return outputs[0]

    def model(self, logits: str) -> onnx.ModelProto:
        """With a Reshape to [N, classes] behind the tensor `logits`."""
        shape = numpy_helper.from_array(np.array([0, -1]), "logits_shape")
        self.nodes.append(helper.make_node("Reshape", [logits, "logits_shape"], ["logits"], "flatten"))
        self.values["logits"] = self.values[logits].reshape(len(self.values["pixels"]), -1)
        infos = {
            name: helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), ["N", *value.shape[1:]]
            )
            for name, value in self.values.items()
        }
        inner = [info for name, info in infos.items() if name not in ("pixels", "logits")]
        constants = [*self.initializers, shape]
        graph = helper.make_graph(
            self.nodes, "net", [infos["pixels"]], [infos["logits"]], constants, value_info=inner
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(HW_DOMAIN, 1)]
        )


def network() -> Builder:
    """Every op once or more; 4 tokens of 6 channels, hidden 8."""
    b = Builder()
    x = b.add("ChannelLUT", "pixel_lut", "pixels", random_int8(1, 3, 256), lowest=0)
    x = b.add("Patches", "patches_0", x, patch=4)
    embed = (random_int8(2, 6, 48), b.int32(-500, 500, 6), b.int32(6, 10, 6))
    x = b.add("MatVec", "embed", x, *embed, PE=1, SIMD=4)
    x = b.add("Fork", "fork_0", x)
    y = b.add("ChannelRequant", "affine_0", x, b.int32(-200, 200, 6), b.int32(-99, 99, 6), b.int32(5, 8, 6))
    mixer = (random_int8(3, 4, 4), b.int32(-500, 500, 4), b.int32(4, 8, 4))
    y = b.add("TokenMix", "mixer_0", y, *mixer, PE=3, SIMD=2, rounding="HALF_UP")
    skip = b.add("Fifo", "fifo_0", "fork_0_b", depth=80)
    x = b.add("ResidualAdd", "add_0", [y, skip], a_shift=1, shift=1)
    x = b.add("Fork", "fork_1", x)
    y = b.add("WidthConverter", "width_1", x, in_lanes=1, out_lanes=3)
    first = (random_int8(4, 8, 6), b.int32(-500, 500, 8), b.int32(4, 8, 8))
    y = b.add("MatVec", "mvau_0", y, *first, PE=2, SIMD=3, in_lanes=3, out_lanes=2, lo=0)
    y = b.add("ChannelLUT", "lut_0", y, random_int8(5, 8, 256), PE=2)
    second = (random_int8(6, 6, 8), b.int32(-500, 500, 6), b.int32(4, 8, 6))
    y = b.add("MatVec", "mvau_1", y, *second, PE=1, SIMD=2, in_lanes=2)
    skip = b.add("Fifo", "fifo_1", "fork_1_b", depth=24)
    x = b.add("ResidualAdd", "add_1", [skip, y], b_shift=2, shift=2, rounding="HALF_UP")
    x = b.add("TokenMean", "mean_0", x, shift=2)
    x = b.add("MatVec", "classifier", x, random_int8(8, 10, 6), b.int32(-500, 500, 10))
    return b


@pytest.mark.tools
@pytest.mark.skipif(not tools.available("verilator", "g++"), reason="verilator or g++ is not installed")
@pytest.mark.parametrize("stalls, seed", [(0.0, 0), (0.4, 1)])
def test_every_link_of_a_small_network_equals_the_reference(tmp_path_factory, stalls, seed):
    b = network()
    folder = tmp_path_factory.getbasetemp() / "network"
    emit(b.model("classifier_y"), folder / "rtl")
    result = simulate(folder, IMAGES, b.values, seed=seed, stalls=stalls)
    assert result.mismatches == 0 and result.not_compared == ()
    assert (result.logits == b.values["logits"]).all()
    if not stalls:
        assert result.cycles_per_image == 4 * 6 * 12, "the embedding is the slowest node"


@pytest.mark.tools
def test_the_emitted_text_is_clean_in_verilator_and_icarus(tmp_path):
    emit(network().model("classifier_y"), tmp_path)
    commands = {
        "verilator": ["--lint-only", "-Wall", "-y", ".", "psaflow_top.sv"],
        "iverilog": ["-g2012", "-t", "null", "-y", ".", "-Y", ".sv", "-s", "psaflow_top", "psaflow_top.sv"],
    }
    for tool, arguments in commands.items():
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
        done = subprocess.run([tool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        printed = [line for line in done.stderr.splitlines() if "Standard inconsistency" not in line]
        assert (done.returncode, printed) == (0, [])


def test_design_json_lists_every_file_of_the_folder(tmp_path):
    design = emit(network().model("classifier_y"), tmp_path / "rtl")
    listed = {file for module in design.modules for file in (*module.sources, *module.memories)}
    files = {path.name for path in (tmp_path / "rtl").iterdir()}
    assert files == listed | {"psaflow_top.sv", "design.json"}
    written = json.loads((tmp_path / "rtl" / "design.json").read_text())
    assert written["input"] == {"lanes": 1, "bits": 8, "beats_per_image": 192, "tensor": "pixels"}
    assert written["output"] == {"lanes": 1, "bits": 32, "beats_per_image": 10, "tensor": "logits"}
    link = next(link for link in written["links"] if link["signal"] == "mvau_0_out")
    assert link == {
        "signal": "mvau_0_out", "tensor": "mvau_0_y", "node": "mvau_0", "lanes": 2, "bits": 8, "beats_per_image": 16,
    }  # fmt: skip


def test_emitting_again_leaves_no_file_of_the_first_time(tmp_path):
    emit(network().model("classifier_y"), tmp_path)
    b = Builder()
    b.add("Patches", "patches_9", "pixels", patch=4)
    emit(b.model(b.add("ChannelLUT", "lut_9", "patches_9_y", random_int8(1, 48, 256), lowest=0)), tmp_path)
    assert {path.stem for path in tmp_path.glob("*.hex")} == {"lut_9_table_00"}
    assert not (tmp_path / "mat_vec.sv").exists()


def refused(b: Builder, logits: str, message: str, folder) -> None:
    with pytest.raises(EmitError, match=message):
        emit(b.model(logits), folder / "rtl")
    assert not (folder / "rtl").exists()


def start() -> Builder:
    b = Builder()
    b.add("Patches", "patches_0", "pixels", patch=4, PE=2)
    b.add("ChannelLUT", "lut_0", "patches_0_y", random_int8(1, 48, 256), lowest=0, PE=2)
    return b


def test_different_lanes_name_both_nodes(tmp_path):
    b = start()
    x = b.add("TokenMean", "mean_0", "lut_0_y", PE=3)
    refused(b, x, "TokenMean mean_0 takes 3 lanes, lut_0 gives 2; put a WidthConverter", tmp_path)


def test_two_readers_need_a_fork(tmp_path):
    b = start()
    b.add("TokenMean", "mean_0", "lut_0_y", PE=2)
    refused(b, "lut_0_y", "'lut_0_y' feeds mean_0 and the output; put a Fork", tmp_path)


def test_an_output_that_nobody_reads_is_named(tmp_path):
    b = start()
    x = b.add("Fork", "fork_0", "lut_0_y", PE=2)
    refused(b, x, "fork_0: nothing reads its output 'fork_0_b'", tmp_path)


def test_uint8_codes_go_to_no_arithmetic(tmp_path):
    b = Builder()
    b.add("Patches", "patches_0", "pixels", patch=4)
    x = b.add("TokenMean", "mean_0", "patches_0_y")
    refused(b, x, "TokenMean mean_0: its input 'patches_0_y' is uint8, not int8", tmp_path)


def test_an_op_without_hardware_is_named(tmp_path):
    b = start()
    b.nodes.append(helper.make_node("Relu", ["lut_0_y"], ["relu_y"], "relu_0"))
    b.values["relu_y"] = b.values["lut_0_y"]
    refused(
        b, "relu_y", "Relu relu_0: no hardware for domain 'ai.onnx'; lower it to psaflow.hw first", tmp_path
    )


@pytest.mark.parametrize("name", ["", "3rd", "block.0", "wire", "mat_vec", "psaflow_top"])
def test_a_name_that_is_no_free_identifier_is_refused(tmp_path, name):
    b = start()
    b.nodes[-1].name = name
    refused(b, "lut_0_y", f"ChannelLUT '{name}': the name is no free Verilog identifier", tmp_path)


def test_one_name_for_two_nodes_is_refused(tmp_path):
    b = start()
    b.nodes[-1].name = "patches_0"
    refused(b, "lut_0_y", "ChannelLUT patches_0: another node has this name", tmp_path)


def test_a_folding_that_does_not_divide_is_refused(tmp_path):
    b = start()
    x = b.add("TokenMean", "mean_0", "lut_0_y", PE=5)
    refused(b, x, "TokenMean mean_0: PE=5 must divide 48 channels", tmp_path)


def test_an_unknown_element_type_is_no_pixel(tmp_path):
    b = start()
    model = b.model("lut_0_y")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(EmitError, match="the image 'pixels' is FLOAT; UINT8 or INT8 expected"):
        emit(model, tmp_path / "rtl")
