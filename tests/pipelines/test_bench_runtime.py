"""psaflow bench runtime: what is compared computes the same, and the result says what was measured."""

import itertools
import time

import numpy as np
import pytest
import torch

from custom_ops.runtime import session
from pipelines.bench_runtime import Candidate, measure
from pipelines.float_graph import float_graph, quantized_by_onnxruntime
from pipelines.numpy_graph import reference_of
from tests.conftest import ACTIVATIONS
from tests.pipelines.conftest import psaflow, psaflow_json
from train.resmlp import absorb

each_network = pytest.mark.parametrize("activation", ACTIVATIONS)
ROWS = ["int8_fused", "int8_single", "int8_bodies", "int8_numpy", "float32", "torch", "relu_float32", "relu_int8_qdq", "relu_torch"]


@each_network
def test_the_float_graph_computes_the_network(network, images, activation):
    model = absorb(network(activation).floating.eval())
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    got = session(float_graph(model), kernels=False, threads=1).run(None, {"pixels": images})[0]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@each_network
def test_the_float_graph_has_one_transpose_and_no_affine_before_a_product_along_tokens(network, activation):
    kinds = [n.op_type for n in float_graph(absorb(network(activation).floating.eval())).graph.node]
    assert (kinds.count("Transpose"), kinds.count("MatMul"), kinds.count("Gemm")) == (1, 2, 6)


def test_onnxruntime_s_own_quantization_keeps_most_of_the_float_network(network, images):
    graph = float_graph(absorb(network("relu").floating.eval()))
    expected = session(graph, kernels=False, threads=1).run(None, {"pixels": images})[0]
    quantized = quantized_by_onnxruntime(graph, images)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {n.op_type for n in quantized.graph.node}
    got = session(quantized, kernels=False, threads=1).run(None, {"pixels": images})[0]
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.95


@each_network
def test_the_numpy_graph_gives_every_logit_of_the_integer_and_the_fused_graph(network, images, activation):
    integer = network(activation).stages["integer"]
    expected = session(integer, kernels=False, threads=1).run(None, {"pixels": images[:8]})[0]
    for model in (integer, network(activation).runtime[0]):
        got = reference_of(model)(images[:8])
        assert got.dtype == expected.dtype
        assert (got == expected).all()


def test_the_numpy_graph_refuses_a_float_op_by_name(network):
    from pipelines.console import UserError

    with pytest.raises(UserError, match=r"\w+: .*\w+ has no numpy form here"):
        reference_of(network("relu").stages["tidy"])


def test_every_candidate_gets_its_seconds_in_turns():
    order = []

    def candidate(name, whole_batch):
        def run(images):
            time.sleep(0.01)
            order.append((name, len(images)))
            return images

        return Candidate(name, "network", "engine", run, whole_batch)

    found = [candidate("a", True), candidate("b", False)]
    measure(found, np.zeros((4, 32, 32, 3), np.uint8), 0.12)
    assert set(found[0].seconds) == {1, 4}
    assert set(found[1].seconds) == {1}
    assert all(sum(seconds) > 0.1 for c in found for seconds in c.seconds.values())
    changes = sum(before != after for before, after in itertools.pairwise(order))
    assert changes >= 3 * 2  # 0.05 s a turn


@pytest.mark.slow
def test_the_command_measures_every_form_and_draws_it(checkpoint, tmp_path):
    result = psaflow_json("bench", "runtime", "--model", checkpoint, "--batch", 4, "--seconds", 0.05, "--threads", 1, "--no-compile",
                          "--plot", tmp_path / "bars.png")  # fmt: skip
    assert [row["name"] for row in result["rows"]] == ROWS
    for row in result["rows"]:
        assert row["images_per_second"] > 0 < row["latency_ms"]
        assert row["threads"] == 1
    assert result["untrained"] == ["relu_h192"]
    assert set(result["times_as_fast"]) == set(ROWS[1:])
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def test_bad_options_are_refused_in_one_line(checkpoint, tmp_path):
    for options, says in ((("--plot", tmp_path / "bars.pdf"), "is drawn as PNG"), (("--model", tmp_path / "none.onnx"), "no file")):
        result = psaflow("bench", "runtime", "--model", checkpoint, *options)
        assert result.exit_code == 1
        assert says in result.stderr
