"""Converters between streams of different width."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph
from passes.hardware import hardware_nodes, plan
from passes.insert_width_converters import InsertWidthConverters
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse, refusal

X = np.random.default_rng(0).integers(-128, 128, (9, 4, 12)).astype(np.int8)


def pair(first: int, second: int) -> str:
    return f"""
        g (int8[N,4,12] x) => (int8[N,4,12] y)
        {{ a = psaflow.hw.Fifo <depth = 2, PE = {first}> (x)
           y = psaflow.hw.Fifo <depth = 2, PE = {second}> (a) }}"""


def links_fit(model) -> bool:
    """Every stream has the same lanes at both ends."""
    graph = Graph(ModelWrapper(model))
    given = {t: lanes for n in hardware_nodes(graph) for t, lanes in zip(n.output, plan(graph, n).out_lanes, strict=True)}
    return all(
        given.get(t, lanes) == lanes for n in hardware_nodes(graph) for t, lanes in zip(n.input, plan(graph, n).in_lanes, strict=False)
    )


@pytest.mark.parametrize(("first", "second"), [(1, 4), (4, 1), (2, 12), (6, 3)])
def test_a_converter_stands_between_different_widths(first: int, second: int) -> None:
    before = parse(pair(first, second))
    after = apply(before, InsertWidthConverters())
    assert_same(
        after,
        f"""
        g (int8[N,4,12] x) => (int8[N,4,12] y)
        {{ a = psaflow.hw.Fifo <depth = 2, PE = {first}> (x)
           w = psaflow.hw.WidthConverter <in_lanes = {first}, out_lanes = {second}> (a)
           y = psaflow.hw.Fifo <depth = 2, PE = {second}> (w) }}""",
    )
    assert links_fit(after)
    assert_equal_values(before, after, x=X)
    assert_untouched(after, InsertWidthConverters())


def test_equal_widths_need_none() -> None:
    assert_untouched(parse(pair(3, 3)), InsertWidthConverters())


def test_each_operand_and_each_copy_gets_its_own() -> None:
    before = parse("""
        g (int8[N,4,12] x) => (int8[N,4,12] y)
        { a, b = psaflow.hw.Fork <PE = 2> (x)
          c = psaflow.hw.Fifo <depth = 2, PE = 4> (b)
          y = psaflow.hw.ResidualAdd <shift = 1, PE = 12> (c, a) }""")
    after = apply(before, InsertWidthConverters())
    assert sorted((n.attribute[0].i, n.attribute[1].i) for n in after.graph.node if n.op_type == "WidthConverter") == [
        (2, 4),
        (2, 12),
        (4, 12),
    ]
    assert links_fit(after)
    assert_equal_values(before, after, x=X)


def test_the_matrix_unit_takes_and_gives_its_own_lanes() -> None:
    weight = ", ".join(["1"] * 72)
    before = parse(f"""
        g (int8[N,4,12] x) => (int8[N,4,6] y)
        <int8[6,12] w = {{{weight}}}, int32[6] b = {{0, 0, 0, 0, 0, 0}}, int32[6] s = {{1, 1, 1, 1, 1, 1}}>
        {{ a = psaflow.hw.Fifo <depth = 2, PE = 1> (x)
           m = psaflow.hw.MatVec <PE = 3, SIMD = 4, in_lanes = 4, out_lanes = 3> (a, w, b, s)
           y = psaflow.hw.Fifo <depth = 2, PE = 6> (m) }}""")
    after = apply(before, InsertWidthConverters())
    assert sorted((n.attribute[0].i, n.attribute[1].i) for n in after.graph.node if n.op_type == "WidthConverter") == [(1, 4), (3, 6)]
    assert links_fit(after)
    assert_equal_values(before, after, x=X)


def test_it_refuses_widths_that_do_not_divide_one_another() -> None:
    message = refusal(parse(pair(4, 6)), InsertWidthConverters())
    for word in ("in_lanes=4", "out_lanes=6", "divide one another", "try out_lanes="):
        assert word in message


def test_names_stay_unique() -> None:
    after = apply(
        parse("""
        g (int8[N,4,12] x) => (int8[N,4,12] y, int8[N,4,12] z)
        { a, b = psaflow.hw.Fork <PE = 2> (x)
          y = psaflow.hw.Fifo <depth = 2, PE = 4> (a)
          z = psaflow.hw.Fifo <depth = 2, PE = 4> (b) }"""),
        InsertWidthConverters(),
    )
    names = [n.name for n in after.graph.node]
    assert len(set(names)) == len(names) == 5
