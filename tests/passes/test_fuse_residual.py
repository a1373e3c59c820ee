"""Requant of the sum of a layer's result and another tensor -> the layer's skip."""

import numpy as np
import pytest

from passes.fuse_residual import FuseResidual
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse
from tests.passes.layers import LAYERS, graph, table

SUM = "int32[1] one = {1}, int32[1] zero = {0}, int32[1] three = {3}, int32 four = {4}, int32 eight = {8}, int32 six = {6}"
SKIP = ", int8[N,2,2] q"
LAYER = "z = psaflow.Linear (x, w, m, b, s)"
REQUANT = "[sum] y = psaflow.Requant (t, one, zero, three)"


def residual(add: str = "t = Add (c, d)", *, layer: str = LAYER, requant: str = REQUANT, constants: str = SUM, skip: str = "q",
             outputs: str = "", inputs: str = SKIP, before: str = "") -> str:  # fmt: skip
    nodes = f"{before} {layer} c = Cast <to = 6> (z) d = Cast <to = 6> ({skip}) {add} {requant}"
    return graph(nodes, constants, inputs=inputs, outputs=outputs)


def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(-128, 128, (999, 2, 2), np.int8) for name in ("x", "q")}


@pytest.mark.parametrize(("add", "requant", "attributes"), [
    ("t = Add (c, d)", REQUANT, "left = 0, skip_left = 0, right = 3"),
    ("t = Add (d, c)", REQUANT, "left = 0, skip_left = 0, right = 3"),
    ("e = Mul (c, eight) t = Add (e, d)", REQUANT, "left = 3, skip_left = 0, right = 3"),
    ("e = Mul (c, eight) f = Mul (d, four) t = Add (f, e)", REQUANT, "left = 3, skip_left = 2, right = 3"),
    ("t = Add (c, d)", "[sum] y = psaflow.Requant (t, four, zero, three)", "left = 2, skip_left = 2, right = 3"),
    ("t = Add (c, d)", "[sum] y = psaflow.Requant (t, one, zero, zero)", "left = 0, skip_left = 0, right = 0"),
])  # fmt: skip
@pytest.mark.parametrize("layer", LAYERS)
def test_a_sum_becomes_part_of_the_layer(layer: str, add: str, requant: str, attributes: str) -> None:
    before = parse(residual(add, layer=LAYER.replace("Linear", layer), requant=requant))
    after = apply(before, FuseResidual())
    assert_same(after, graph(f"y = psaflow.{layer} <{attributes}> (x, w, m, b, s, , , q)", inputs=SKIP))
    assert after.graph.node[0].name == "sum"
    assert_equal_values(before, after, **feeds())


def test_a_table_on_the_other_operand_becomes_the_skip_table() -> None:
    text = residual(before="v = psaflow.ChannelLUT (q, u)", skip="v", constants=f"{SUM}, {table('u', 3)}")
    before, expected = parse(text), "y = psaflow.Linear <left = 0, skip_left = 0, right = 3> (x, w, m, b, s, , , q, u)"
    after = apply(before, FuseResidual())
    assert_same(after, graph(expected, table("u", 3), inputs=SKIP))
    assert_equal_values(before, after, **feeds())


def test_a_table_that_others_read_stays_before_the_sum() -> None:
    text = residual(before="v = psaflow.ChannelLUT (q, u)", skip="v", constants=f"{SUM}, {table('u', 3)}", outputs=", int8[N,2,2] v")
    before = parse(text)
    after = apply(before, FuseResidual())
    assert sorted(n.op_type for n in after.graph.node) == ["ChannelLUT", "Linear"]
    assert_equal_values(before, after, **feeds())


def test_one_of_two_layers_takes_the_sum() -> None:
    before = parse(residual(before="v = psaflow.TokenLinear (q, w, m, b, s)", skip="v"))
    after = apply(before, FuseResidual())
    assert sorted(n.op_type for n in after.graph.node) == ["Linear", "TokenLinear"]
    assert_equal_values(before, after, **feeds())


@pytest.mark.parametrize("text", [
    residual(outputs=", int8[N,2,2] z"), residual(outputs=", int32[N,2,2] t"), residual(outputs=", int32[N,2,2] c"),
    residual("e = Mul (c, six) t = Add (e, d)"), residual("t = Sub (c, d)"),
    residual(requant="y = psaflow.Requant <lo = 0> (t, one, zero, three)"), residual(requant='y = psaflow.Requant <rounding = "HALF_UP"> (t, one, zero, three)'),
    residual(requant="y = psaflow.Requant (t, six, zero, three)"), residual(requant="y = psaflow.Requant (t, one, one, three)"),
    residual(requant="y = psaflow.Requant (t, one, zero, s)"), residual(layer=LAYER.replace(", s)", ", s, , , x)")),
    residual(skip="z"), residual("e = Mul (c, big) t = Add (e, d)", constants=SUM + ", int32 big = {8388608}"),
    residual().replace("int8[N,2,2] q", "int8[N,1,2] q"), residual().replace("int8[N,2,2] q", "int8[1,2,2] q"),
    residual().replace("int8[N,2,2] q", "int8[M,2,2] q").replace("int8[N,2,2] y", "int8[K,2,2] y"),
    residual().replace("int8[N,2,2] q", "int8[?,2,2] q"),
    residual("e = Mul (c, deep) t = Add (e, d)", constants=SUM + ", int32[1,1,1,1] deep = {2}").replace("int8[N,2,2] y", "int8[1,N,2,2] y"),
    residual().replace("<to = 6>", "<to = 3>"), residual(layer="z = psaflow.ChannelLUT (x, u)", constants=f"{SUM}, {table('u', 1)}"),
], ids=["others read the layer", "others read the sum", "others read a term", "factor", "difference", "clip", "rounding", "multiplier", "bias",
        "shift per channel", "it has one", "twice itself", "factor too large", "broadcast", "one image for all", "another batch", "a batch without a name",
        "factor of higher rank", "a sum that wraps at 8 bits", "no layer"])  # fmt: skip
def test_another_sum_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FuseResidual())
