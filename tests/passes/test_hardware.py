"""What the hardware passes read from a graph."""

import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph, PassRefusal
from passes.hardware import hardware_nodes, plan, set_folding
from tests.passes.graphs import attributes, parse

TEXT = """
    g (int8[N,4,2] x) => (int32[N,4,3] z) <int8[3,2] w = {1, 2, 3, 4, 5, 6}, int32[3] b = {1, 2, 3}>
    { [fifo] a = psaflow.hw.Fifo <depth = 7> (x)
      [fc] y = psaflow.hw.MatVec (a, w, b)
      [tail] z = psaflow.hw.Fifo <depth = 3> (y) }"""


def test_a_node_is_planned_from_constants_shapes_and_widths() -> None:
    graph = Graph(ModelWrapper(parse(TEXT)))
    fifo, unit, tail = (plan(graph, n) for n in hardware_nodes(graph))
    assert (fifo.in_bits, unit.out_bits, tail.in_bits, tail.out_bits) == (8, 32, 32, 32)
    assert (fifo.cycles, unit.cycles) == (8, 24)
    assert [(m.name, m.depth, m.width) for m in tail.memories] == [("beats", 3, 32)]


def test_setting_a_folding_replaces_only_that_attribute() -> None:
    node = parse(TEXT).graph.node[0]
    set_folding(node, PE=2)
    set_folding(node, PE=1)
    assert attributes(node) == {"depth": 7, "PE": 1}


def test_a_folding_that_does_not_fit_is_a_refusal() -> None:
    graph = Graph(ModelWrapper(parse(TEXT)))
    unit = hardware_nodes(graph)[1]
    set_folding(unit, PE=2)
    with pytest.raises(PassRefusal, match=r"MatVec fc: PE=2 must divide 3 rows; try 1, 3"):
        plan(graph, unit)
