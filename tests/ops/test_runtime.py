"""runtime.session: opens models with and without kernels, shows inner tensors, refuses bad files in one line."""

import logging
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from custom_ops import DOMAINS, add_functions, kernels, runtime
from custom_ops.runtime import ModelError, session

from .faces import int8, int32

HW = "psaflow.hw"


def small_network(seed=0):
    """A two-layer residual network in hardware nodes on images uint8 [N, 8, 8, 3], and its constants."""
    rng = np.random.default_rng(seed)
    constants = {
        "pixels": int8(rng, 48, 256), "w0": int8(rng, 12, 48), "b0": int32(rng, -999, 999, 12), "s0": int32(rng, 8, 11, 12),
        "w1": int8(rng, 4, 4), "b1": int32(rng, -99, 99, 4), "s1": int32(rng, 7, 9, 4), "table": int8(rng, 12, 256),
        "w2": int8(rng, 5, 12), "b2": int32(rng, -99, 99, 5), "mult": int32(rng, 1, 99, 12), "add": int32(rng, -99, 99, 12),
        "s3": int32(rng, 4, 8, 12),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Patches", ["image"], ["patches"], "n0", domain=HW),
        make("ChannelLUT", ["patches", "pixels"], ["codes"], "n1", domain=HW, lowest=0),
        make("MatVec", ["codes", "w0", "b0", "s0"], ["embedded"], "n2", domain=HW),
        make("Fork", ["embedded"], ["branch", "skip"], "n3", domain=HW),
        make("ChannelRequant", ["branch", "mult", "add", "s3"], ["scaled"], "n4", domain=HW),
        make("TokenMix", ["scaled", "w1", "b1", "s1"], ["mixed"], "n5", domain=HW),
        make("Fifo", ["skip"], ["late"], "n6", domain=HW, depth=9),
        make("ResidualAdd", ["mixed", "late"], ["total"], "n7", domain=HW, a_shift=1, shift=1),
        make("ChannelLUT", ["total", "table"], ["curved"], "n8", domain=HW),
        make("TokenMean", ["curved"], ["mean"], "n9", domain=HW, shift=2),
        make("MatVec", ["mean", "w2", "b2"], ["logits"], "n10", domain=HW),
    ]
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.INT32, ["N", 1, 5])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return add_functions(model), constants


def by_reference(model, constants, image):
    """Every tensor of the network, node by node in numpy."""
    tensors = {**constants, "image": image}
    for node in model.graph.node:
        op = DOMAINS[node.domain][node.op_type]
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        results = op.reference(*(tensors[name] for name in node.input), **attributes)
        tensors |= zip(node.output, results if isinstance(results, tuple) else (results,))
    return tensors


@pytest.mark.parametrize("options", [{"kernels": False}, {}, {"kernels": False, "optimize": False}, {"threads": 1}])
def test_every_layer_equals_the_reference(options):
    model, constants = small_network()
    image = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    expected = by_reference(model, constants, image)
    opened = session(model, outputs="all", **options)
    assert [output.name for output in opened.get_outputs()] == [name for node in model.graph.node for name in node.output]
    for output, got in zip(opened.get_outputs(), opened.run(None, {"image": image})):
        assert got.dtype == expected[output.name].dtype
        np.testing.assert_array_equal(got, expected[output.name], err_msg=output.name)


def test_named_outputs_come_in_the_order_asked_and_the_model_is_untouched():
    model, _ = small_network()
    before = model.SerializeToString(deterministic=True)
    opened = session(model, outputs=["mixed", "codes"])
    assert [output.name for output in opened.get_outputs()] == ["mixed", "codes"]
    assert model.SerializeToString(deterministic=True) == before


def test_a_file_its_bytes_and_the_model_give_the_same(tmp_path):
    model, _ = small_network()
    path = tmp_path / "4_dataflow.onnx"
    onnx.save(model, path)
    image = {"image": np.zeros((1, 8, 8, 3), np.uint8)}
    results = [session(given).run(None, image)[0].tolist() for given in (path, str(path), path.read_bytes(), model)]
    assert results == [results[0]] * 4


def message(*arguments, **options):
    with pytest.raises(ModelError) as error:
        session(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_bad_files_are_refused_with_path_reason_and_way_out(tmp_path):
    model, _ = small_network()
    good = model.SerializeToString()
    path = tmp_path / "model.onnx"
    assert message(path) == f"{path}: no file '{path}'; build the stage first or check the path"
    assert message(tmp_path) == f"{tmp_path}: is a folder; name the .onnx file in it"
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(good[: int(len(good) * part)])
        assert message(path) == f"{path}: not an ONNX model, or truncated; write it again"
    path.write_bytes(b"")
    assert message(path) == f"{path}: no graph with outputs, so empty or truncated; write it again"
    path.write_text("hello")
    assert message(path).startswith(f"{path}: not an ONNX model")


def test_an_unsupported_model_is_refused_with_the_reason():
    model, _ = small_network()
    model.opset_import[0].version = 99
    assert "onnxruntime 1." in message(model)
    model.opset_import[0].version = 18
    model.graph.node[0].op_type, model.graph.node[0].domain = "Nothing", ""
    assert "Nothing" in message(model)


def test_a_model_without_bodies_is_refused_by_node():
    model, _ = small_network()
    del model.functions[:]
    reason = "node 'n0' is psaflow.hw.Patches, which has no function body here; run custom_ops.add_functions on the model"
    assert message(model) == f"model in memory: {reason}"


def test_a_qonnx_op_without_a_body_is_refused_by_name():
    node = helper.make_node("Trunc", ["x"], ["y"], name="t", domain="qonnx.custom_op.general")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("qonnx.custom_op.general", 1)]
    model = helper.make_model(helper.make_graph([node], "g", infos[:1], infos[1:]), opset_imports=imports, ir_version=8)
    assert message(model).endswith("Trunc, which has no function body here; replace it by Quant or standard ops")


FLOAT_CHAINS = {
    "batch normalization after a product": "z = MatMul (x, w) y = BatchNormalization (z, s, b, b, s)",
    "a scaled product": "z = Mul (x, s1) y = MatMul (z, w)",
    "a reciprocal": "o = Constant <value = float {1.0}> () z = Div (o, x) y = Mul (z, s)",
    "GELU": "r = Div (x, s) e = Erf (r) p = Add (e, s1) m = Mul (x, p) y = Mul (m, s1)",
    "swish": "m = Mul (x, s1) e = Sigmoid (m) y = Mul (x, e)",
    "dequantize, function, quantize": """d = DequantizeLinear (q, s1) f = Sigmoid (d) k = QuantizeLinear (f, s2, z2)
      y = DequantizeLinear (k, s2, z2)""",
    "dequantize, add, quantize": """d = DequantizeLinear (q, s1) f = Add (d, d) k = QuantizeLinear (f, s2, z2)
      y = DequantizeLinear (k, s2, z2)""",
}


@pytest.mark.parametrize("chain", FLOAT_CHAINS.values(), ids=FLOAT_CHAINS)
def test_optimizing_changes_no_bit_of_a_float_graph(chain):
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(8, 8)), "s": rng.uniform(0.5, 2, 8), "b": rng.normal(size=8), "s1": 0.3, "s2": 0.007}
    tensors = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()]
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[N, 8] x, int8[N, 8] q) => (float[N, 8] y) <int8 z2 = {{3}}> {{ {chain} }}'
    )
    model.graph.initializer.extend(tensors)
    feed = {"x": rng.normal(size=(100, 8)).astype(np.float32), "q": int8(rng, 100, 8)}
    results = [session(model, kernels=False, optimize=optimize).run(None, feed)[0] for optimize in (True, False)]
    np.testing.assert_array_equal(*results)


def test_bad_options_are_refused():
    model, _ = small_network()
    assert message(model, threads=0) == "model in memory: threads=0 must be at least 1"
    assert message(model, outputs=["mixd"]) == "model in memory: no node computes tensor 'mixd'; did you mean 'mixed'?"


def test_without_a_compiler_the_bodies_run_and_a_line_says_so(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    kernels.library.cache_clear()
    runtime._say_once.cache_clear()
    model, constants = small_network()
    image = np.random.default_rng(2).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    with caplog.at_level(logging.WARNING):
        (got,) = session(model).run(None, {"image": image})
    np.testing.assert_array_equal(got, by_reference(model, constants, image)["logits"])
    assert "no C++ compiler 'no-such-compiler'; install g++ or set CXX" in caplog.text
    assert message(model, kernels=True).startswith("no kernels: no C++ compiler 'no-such-compiler'")


def test_onnxruntime_sends_no_telemetry():
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(("allowed", "cores", "threads"), [({3}, 4, 1), ({0, 2}, 4, 2), ({0, 1, 2, 3}, 4, 0)])
def test_a_process_on_some_cores_starts_no_threads_for_the_others(monkeypatch, allowed, cores, threads):
    """0 leaves the number to onnxruntime."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: allowed, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    model, _ = small_network()
    assert session(model, kernels=False).get_session_options().intra_op_num_threads == threads
    assert session(model, kernels=False, threads=3).get_session_options().intra_op_num_threads == 3
