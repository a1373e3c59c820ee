"""Reading what stands between a product and its quantizer, compared with what onnxruntime computes."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.affine_chain import affine_chain, read_chain
from passes.graph import Graph, PassRefusal
from tests.passes.graphs import parse, run

CONSTANTS = """<float two = {2}, float[3] c = {0.7, -1.3, 4}, float[1,3] d = {5, 0.1, -2}, int8[3] q = {1, -2, 3}, float[3] s = {0.5, 0.25, 2},
    float[3] g = {0.7, -1.3, 1e-3}, float[3] o = {0.1, 5, -3}, float[3] mu = {1, 0.2, -0.3}, float[3] va = {0.5, 2, 0.01},
    float low = {-3}, float high = {4}, float[1,1,3] deep = {1, 2, 3}, float[2,1] rows = {1, 2}, float none = {0}>"""


def graph(nodes: str) -> str:
    return f"g (float[N,3] x) => (float[N,3] y) {CONSTANTS} {{ p = Neg (x) {nodes} }}"


def chain(nodes: str, channels: int = 3, axis: int = -1):
    model = parse(graph(nodes), shapes=False)
    return model, affine_chain(Graph(ModelWrapper(model)), "y", channels, axis, 2, "fc")


CHAINS = {
    "nothing": "y = Identity (p)",
    "bias": "y = Add (p, c)",
    "bias first": "y = Add (c, p)",
    "difference": "y = Sub (p, c)",
    "difference from a constant": "y = Sub (d, p)",
    "product": "y = Mul (c, p)",
    "quotient": "y = Div (p, c)",
    "quantized parameter": "w = DequantizeLinear <axis = 0> (q, s) y = Mul (p, w)",
    "several": "a = Mul (p, c) b = Add (a, d) e = Div (b, two) y = Sub (d, e)",
    "batch norm": "y = BatchNormalization <epsilon = 1e-3> (p, g, o, mu, va)",
    "batch norm, relu": "a = BatchNormalization (p, g, o, mu, va) y = Relu (a)",
    "clip": "a = Add (p, c) y = Clip (a, low, high)",
    "clip of a relu": "a = Add (p, c) r = Relu (a) y = Clip (r, low, high)",
    "relu of a clip": "a = Add (p, c) r = Clip (a, , high) y = Relu (r)",
}


@pytest.mark.parametrize("nodes", CHAINS.values(), ids=CHAINS)
def test_gain_offset_and_clip_are_those_of_the_nodes(nodes: str) -> None:
    model, found = chain(nodes)
    x = np.random.default_rng(0).normal(0, 4, (500, 3)).astype(np.float32)
    expected = run(model, x=x)[0]
    given = np.clip(-x.astype(np.float64) * found.gain + found.offset, found.low, found.high)
    if nodes == CHAINS["nothing"]:
        assert found.source == "y" and not found.nodes  # it begins at once: Identity is removed before
    else:
        assert found.source == "p"
        assert np.abs(given - expected).max() <= 1e-5 * (1 + np.abs(given).max())
        assert (found.size >= np.abs(found.offset) * (1 - 1e-12)).all()


@pytest.mark.parametrize("nodes", [
    "y = Sigmoid (p)", "y = Mul (p, p)", "y = Div (c, p)", "y, a, b = BatchNormalization <training_mode = 1> (p, g, o, mu, va)",
    "y = Clip (p, high, low)",  # limits in the wrong order
])  # fmt: skip
def test_a_node_that_is_no_affine_ends_the_chain(nodes: str) -> None:
    nodes_found, source, low, high = read_chain(Graph(ModelWrapper(parse(graph(nodes), shapes=False))), "y")
    assert (nodes_found, source, low, high) == ([], "y", -np.inf, np.inf)


@pytest.mark.parametrize(("nodes", "words"), [
    ("y = Add (p, deep)", "adds axes"), ("y = Add (p, rows)", r"shape \[2, 1\]; .*\[3\]"), ("y = Div (p, none)", "divides by 0"),
])  # fmt: skip
def test_it_refuses(nodes: str, words: str) -> None:
    with pytest.raises(PassRefusal, match=f"^fc: .*{words}"):
        chain(nodes)


def test_codes_of_the_limits_are_quantized_like_values() -> None:
    _, found = chain("y = Clip (p, low, high)")
    assert found.limits(0.5, 0) == (-6, 8) and found.limits(0.01, 0) == (-128, 127) and found.limits(2.0, 10) == (8, 12)
    _, relu = chain("y = Relu (p)")
    assert relu.limits(0.5, -128) == (-128, 127) and relu.limits(0.5, 3) == (3, 127)
