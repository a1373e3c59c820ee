"""A layer of a ChannelLUT's result -> the layer's table_in."""

import pytest

from passes.fuse_table_before import FuseTableBefore
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_code, parse
from tests.passes.layers import LAYERS, graph, table


@pytest.mark.parametrize("layer", LAYERS)
def test_a_table_before_a_layer_becomes_part_of_it_exact_for_every_code(layer: str) -> None:
    before = parse(graph(f"z = psaflow.ChannelLUT (x, t) [fc] y = psaflow.{layer} <hi = 99> (z, w, m, b, s)", table("t", 1)))
    after = apply(before, FuseTableBefore())
    assert_same(after, graph(f"y = psaflow.{layer} <hi = 99> (x, w, m, b, s, t)", table("t", 1)))
    assert after.graph.node[0].name == "fc"
    assert_equal_values(before, after, x=every_code(2, 2))


@pytest.mark.parametrize("text", [
    graph("z = psaflow.ChannelLUT (x, t) y = psaflow.Linear (z, w, m, b, s)", table("t", 1), outputs=", int8[N,2,2] z"),
    graph("z = psaflow.ChannelLUT (x, t) y = psaflow.Linear (z, w, m, b, s)", table("t", 1, 65)),
    graph("z = psaflow.ChannelLUT (x, t) y = psaflow.Linear (z, w, m, b, s, u)", table("t", 1), table("u", 2)),
    graph("z = psaflow.ChannelLUT <lowest = 0> (x, t) y = psaflow.Linear (z, w, m, b, s)", table("t", 1), kind="uint8"),
    graph("y = psaflow.Linear (x, w, m, b, s)"),
], ids=["others read it", "knots", "it has one", "of uint8", "no table"])  # fmt: skip
def test_another_table_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseTableBefore())
