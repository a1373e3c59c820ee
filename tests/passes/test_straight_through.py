"""Gradients with respect to tables: exact where nothing rounds, against a difference quotient through the whole network elsewhere."""

import numpy as np
import pytest
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.runtime import session
from passes.fit_knots import subsample_knots
from passes.graph import Graph, PassRefusal
from passes.straight_through import StraightThrough
from tests.passes.graphs import parse, run
from tests.passes.tables import network, pixels, tables_in

LINEAR = """
    g (int8[N,2,3] x) => (int32[N,4] y) <int8[3,WIDTH] t = {TABLE}, int8[3,4] w = {WEIGHTS}, int64[1] a = {1}, int32 m = {3}>
    { u = psaflow.ChannelLUT (x, t) p = MatMulInteger (u, w) q = Mul (p, m) r = Add (q, p) s = Transpose <perm = [0, 2, 1]> (r)
      v = Transpose <perm = [0, 2, 1]> (s) y = ReduceSum <keepdims = 0> (v, a) }"""


def values_of(model: ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    opened = session(model, kernels=False, outputs="all", optimize=False)
    return dict(zip([o.name for o in opened.get_outputs()], opened.run(None, feed), strict=True)) | feed


def linear(table: np.ndarray) -> ModelProto:
    weights = np.random.default_rng(0).integers(-9, 9, 12)
    text = LINEAR.replace("WIDTH", str(table.shape[1])).replace("{TABLE}", "{" + ", ".join(map(str, table.ravel())) + "}")
    return parse(text.replace("{WEIGHTS}", "{" + ", ".join(map(str, weights)) + "}"))


def test_gradients_of_what_is_linear_are_exact() -> None:
    """A step of one in an entry changes the answer by exactly the gradient."""
    rng = np.random.default_rng(1)
    table = rng.integers(-50, 50, (3, 256)).astype(np.int8)
    x, given = rng.integers(-128, 128, (4, 2, 3), np.int8), rng.integers(-3, 4, (4, 4))
    model = linear(table)
    graph = Graph(ModelWrapper(model))
    through = StraightThrough(graph, [graph.proto.node[0]])
    found = through.gradients(values_of(model, {"x": x}), {"y": given})["u"]
    assert found.shape == table.shape
    base = (run(model, x=x)[0] * given).sum()
    for channel, code in [(c, int(x[n, t, c]) + 128) for n, t, c in ((0, 0, 0), (1, 1, 1), (3, 0, 2))] + [(0, 0)]:
        moved = table.copy()
        moved[channel, code] += 1
        assert (run(linear(moved), x=x)[0] * given).sum() - base == found[channel, code]


def test_knots_share_an_element_by_its_distance() -> None:
    knots = np.arange(51, dtype=np.int8).reshape(3, 17)
    x = np.zeros((1, 2, 3), np.int8)
    x[0, 0] = [-128, -124, 127]  # on a knot, a quarter behind one, a sixteenth before the last
    x[0, 1] = -128
    model = linear(knots)
    graph = Graph(ModelWrapper(model))
    found = StraightThrough(graph, [graph.proto.node[0]]).gradients(values_of(model, {"x": x}), {"y": np.ones((1, 4))})["u"]
    whole = 4 * np.random.default_rng(0).integers(-9, 9, 12).reshape(3, 4).sum(1)
    assert found[0, 0] == 2 * whole[0] and not found[0, 1:].any()
    assert (found[1, :2] == [whole[1] * 1.75, whole[1] * 0.25]).all()
    assert (found[2, [0, 15, 16]] == [whole[2], whole[2] / 16, whole[2] * 15 / 16]).all()


@pytest.mark.parametrize("full", [True, False])
def test_through_the_whole_network_the_gradient_predicts_what_a_small_change_does(full: bool) -> None:
    """Rounding and clips make each answer jump, so many images and a step of 2 codes in a whole row: direction and size agree."""
    tables = {} if full else {name: subsample_knots(t, 8) for name, t in zip(("table_1", "table_2"), tables_in(network()))}
    model, images = network(tables), pixels(3000)
    graph = Graph(ModelWrapper(model))
    luts = [n for n in graph.proto.node if n.name in ("act1", "act2")]
    values = values_of(model, {"pixels": images})
    given = np.random.default_rng(0).normal(size=(1, 3)).repeat(len(images), 0)
    found = StraightThrough(graph, luts).gradients(values, {"logits": given})
    predicted, measured = [], []
    for name, output in (("table_1", "u"), ("table_2", "w")):
        table = dict(zip(("table_1", "table_2"), tables_in(model)))[name]
        for row in range(len(table)):
            ends = []
            for step in (2, -2):
                moved = table.astype(int)
                moved[row] += step
                ends.append((run(network({**tables, name: np.clip(moved, -128, 127).astype(np.int8)}), pixels=images)[0] * given).sum())
            measured.append((ends[0] - ends[1]) / 4)
            predicted.append(found[output][row].sum())
    measured, predicted = np.array(measured), np.array(predicted)
    assert np.corrcoef(measured, predicted)[0, 1] > 0.98
    assert 0.8 < (measured @ predicted) / (predicted @ predicted) < 1.25


def test_an_op_without_a_gradient_is_named() -> None:
    model = parse("""g (int8[N,3] x) => (int8[N,3] y) <int8[1,3] t = {1, 2, 3}, int8 a = {0}>
                     { u = psaflow.ChannelLUT (x, t) y = Max (u, a) }""")  # fmt: skip
    graph = Graph(ModelWrapper(model))
    with pytest.raises(PassRefusal, match="Max y: no gradient through it; supported: ChannelLUT, Requant"):
        StraightThrough(graph, [graph.proto.node[0]])
