"""ChannelLUT of a layer's result -> the layer's table_out."""

import pytest

from passes.fuse_table_behind import FuseTableBehind
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse
from tests.passes.layers import LAYERS, graph, table


@pytest.mark.parametrize("layer", LAYERS)
def test_a_table_behind_a_layer_becomes_part_of_it_exact_for_every_code(layer: str) -> None:
    before = parse(graph(f"[fc] z = psaflow.{layer} <lo = 0> (x, w, m, b, s) [act] y = psaflow.ChannelLUT (z, t)", table("t", 1)))
    after = apply(before, FuseTableBehind())
    assert_same(after, graph(f'y = psaflow.{layer} <lo = 0> (x, w, m, b, s, "", t)', table("t", 1)).replace('""', ""))
    assert after.graph.node[0].name == "fc"
    assert_equal_values(before, after, x=every_code(2, 2))


@pytest.mark.parametrize("text", [
    graph("z = psaflow.Linear (x, w, m, b, s) y = psaflow.ChannelLUT (z, t)", table("t", 1), outputs=", int8[N,2,2] z"),
    graph("z = psaflow.Linear (x, w, m, b, s) y = psaflow.ChannelLUT (z, t)", table("t", 1, 65)),
    graph("z = psaflow.Linear (x, w, m, b, s, , u) y = psaflow.ChannelLUT (z, t)", table("t", 1), table("u", 2)),
    graph("z = psaflow.Linear (x, w, m, b, s, , , x) y = psaflow.ChannelLUT (z, t)", table("t", 1)),
    graph("y = psaflow.ChannelLUT (x, t)", table("t", 1)),
], ids=["others read it", "knots", "it has one", "a sum comes last", "no layer"])  # fmt: skip
def test_another_table_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseTableBehind())
