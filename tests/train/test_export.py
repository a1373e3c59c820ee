"""The exported graph is Brevitas's network, bit for bit, in plain onnxruntime, under readable names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from custom_ops.runtime import session
from tests.conftest import ACTIVATIONS, Network
from train.export import OPSET, export_onnx

each_network = pytest.mark.parametrize("activation", ACTIVATIONS)
TRANSCENDENTAL = ("psa", "lerp_psa")  # PyTorch and onnxruntime may round a softmax apart


@each_network
def test_the_exported_graph_computes_brevitas_logits_bit_for_bit(
    network: Callable[[str], Network], images: np.ndarray, activation: str, record_property: Callable[[str, object], None]
) -> None:
    net = network(activation)
    with torch.no_grad():
        expected = net.quantized.eval()(torch.from_numpy(images)).numpy()
    actual = session(net.exported, kernels=False, threads=1).run(None, {"pixels": images})[0]
    assert actual.dtype == np.float32
    different = int((actual != expected).any(1).sum())
    record_property(f"{activation}: images of {len(images)} on which Brevitas and the export differ", different)
    assert different <= (3 if activation in TRANSCENDENTAL else 0)


@each_network
def test_bytes_in_logits_out_at_any_batch(network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    model = network(activation).exported
    (pixels,), (logits,) = model.graph.input, model.graph.output
    assert (pixels.name, logits.name) == ("pixels", "logits")
    assert (pixels.type.tensor_type.elem_type, logits.type.tensor_type.elem_type) == (TensorProto.UINT8, TensorProto.FLOAT)
    assert [d.dim_param or d.dim_value for d in pixels.type.tensor_type.shape.dim] == ["N", 32, 32, 3]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["N", 10]
    opened = session(model, kernels=False, threads=1)
    for count in (1, 2, 5):
        assert opened.run(None, {"pixels": images[:count]})[0].shape == (count, 10)


@each_network
def test_names_say_which_module_a_node_comes_from(network: Callable[[str], Network], activation: str) -> None:
    graph = network(activation).exported.graph
    names = [n.name for n in graph.node]
    tensors = [o for n in graph.node for o in n.output]
    for what in (names, tensors, [i.name for i in graph.initializer]):
        assert not [n for n, count in Counter(what).items() if count > 1]
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", n) for n in what)
        assert not [n for n in what if re.match(r"(val|node|getitem|onnx)_?\d", n)]
    for expected in ("embed_matmul", "blocks_0_token_linear_matmul", "blocks_1_fc1_matmul", "blocks_1_fc2_quant", "head_gemm"):
        assert expected in names
    for expected in ("input_quant", "blocks_0_token_sum_quant", "blocks_1_channel_sum_quant", "mean_quant", "logits"):
        assert expected in tensors
    if activation != "relu":
        op = {"bspline": "gridlerp", "psa": "psa", "lerp_psa": "lerppsa"}[activation]
        assert [n for n in names if op in n] == [f"blocks_{b}_act{a}_{op}" for b in (0, 1) for a in (1, 2)]


@each_network
def test_a_weights_name_is_that_of_its_own_layer(network: Callable[[str], Network], activation: str) -> None:
    graph = network(activation).exported.graph
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    state = network(activation).quantized.state_dict()
    for name, value in state.items():
        if name.endswith("linear.weight") or re.search(r"fc\d\.weight$", name):
            stored = constants[name.replace(".", "_") + "_float"]
            assert (stored == value.numpy()).all(), name


@each_network
def test_the_graph_is_standard_ops_quant_and_our_functions(network: Callable[[str], Network], activation: str) -> None:
    model = network(activation).exported
    ours = {(n.domain, n.op_type) for n in model.graph.node if n.domain}
    expected = {"relu": set(), "bspline": {("psaflow", "GridLerp")}, "psa": {("psaflow", "PSA")}, "lerp_psa": {("psaflow", "LerpPSA")}}[
        activation
    ]
    assert ours == expected | {("qonnx.custom_op.general", "Quant")}
    assert {f.name for f in model.functions} >= {name for _, name in ours}
    assert next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) == OPSET
    onnx.checker.check_model(model, full_check=True)


@each_network
def test_the_file_holds_no_traces_of_the_machine(network: Callable[[str], Network], activation: str) -> None:
    data = network(activation).exported.SerializeToString()
    for word in (b"/work", b"/home", b"site-packages", b".py"):
        assert word not in data


def test_exporting_twice_gives_the_same_bytes(network: Callable[[str], Network]) -> None:
    net = network("relu")
    assert export_onnx(net.quantized).SerializeToString(deterministic=True) == net.exported.SerializeToString(deterministic=True)


def test_exporting_leaves_the_model_as_it_was(network: Callable[[str], Network], images: np.ndarray) -> None:
    net = network("lerp_psa")
    assert net.exported
    model = net.quantized
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        model.eval()
        first = model(torch.from_numpy(images[:4]))
        model.train()
        model.eval()
        assert (model(torch.from_numpy(images[:4])) == first).all()
    assert all((before[k] == v).all() for k, v in model.state_dict().items())
