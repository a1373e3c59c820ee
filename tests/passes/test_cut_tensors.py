"""Where a network is one tensor wide."""

from qonnx.core.modelwrapper import ModelWrapper

from passes.cut_tensors import cut_tensors
from passes.graph import Graph
from tests.passes.graphs import parse
from tests.passes.tables import network


def test_branches_are_no_cuts_and_their_sums_are() -> None:
    assert cut_tensors(Graph(ModelWrapper(network()))) == ["codes", "a", "x", "sum", "z", "z32", "total", "pooled", "logits"]


def test_a_second_output_is_a_way_of_its_own() -> None:
    model = parse("g (float[N] x) => (float[N] u, float[N] w) { u = Neg (x) v = Abs (u) w = Exp (v) }")
    assert cut_tensors(Graph(ModelWrapper(model))) == ["u"]
