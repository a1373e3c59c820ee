"""Linear of patches of looked-up pixels -> PatchLinear."""

import numpy as np
import pytest

from passes.fuse_patches import FusePatches
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse
from tests.passes.layers import table

CUT = """r = Reshape (z, split) p = Transpose <perm = [0, 1, 3, 2, 4, 5]> (r) c = Reshape (p, joined)"""
WEIGHTS = np.random.default_rng(5).integers(-128, 128, 24).tolist()
LAYER = f"int8[8,3] w = {{{', '.join(map(str, WEIGHTS))}}}, int32[1] m = {{1}}, int32[3] b = {{5, -6, 7}}, int32[3] s = {{1, 2, 8}}"
SHAPES = "int64[6] split = {0, 2, 2, 3, 2, 2}, int64[3] joined = {0, 6, 8}"


def image(nodes: str, *constants: str, outputs: str = "", kind: str = "uint8") -> str:
    return f"""
        g ({kind}[N,4,6,2] x) => (int8[N,6,3] y{outputs})
        <{", ".join((LAYER, *constants))}>
        {{ {nodes} }}"""


def first_layer(lookup: str = "z = psaflow.ChannelLUT <lowest = 0> (x, t)", cut: str = CUT, linear: str = "(c, w, m, b, s)", *, more: str = "",
                width: int = 256, outputs: str = "", kind: str = "uint8") -> str:  # fmt: skip
    constants = [table("t", 1, width), SHAPES, *([more] if more else [])]
    return image(f'{lookup} {cut} [embed] y = psaflow.Linear <rounding = "HALF_UP", hi = 99> {linear}', *constants, outputs=outputs, kind=kind)


OUT = "int8[3,256] u = {" + ", ".join(str(i % 256 - 128) for i in range(768)) + "}"


@pytest.mark.parametrize(("linear", "more", "fused"), [
    ("(c, w, m, b, s)", "", "(x, t, w, m, b, s)"), ("(c, w, m, b, s, , u)", OUT, "(x, t, w, m, b, s, u)"),
])  # fmt: skip
def test_pixels_tables_patches_and_layer_become_one_node(linear: str, more: str, fused: str) -> None:
    before = parse(first_layer(linear=linear, more=more))
    after = apply(before, FusePatches())
    expected = f'y = psaflow.PatchLinear <patch = 2, rounding = "HALF_UP", lo = -128, hi = 99> {fused}'
    assert_same(after, image(expected, table("t", 1), *([more] if more else [])))
    assert after.graph.node[0].name == "embed"
    assert_equal_values(before, after, x=np.random.default_rng(0).integers(0, 256, (99, 4, 6, 2), np.uint8))


@pytest.mark.parametrize("text", [
    first_layer(width=65), first_layer(lookup="z = psaflow.ChannelLUT (x, t)", kind="int8"), first_layer(outputs=", int8[N,4,6,2] z"),
    first_layer(outputs=", int8[N,6,8] c"), first_layer(cut=CUT.replace("0, 1, 3, 2, 4, 5", "0, 3, 1, 2, 4, 5")),
    first_layer(lookup="z = Cast <to = 3> (x)"), first_layer(linear="(c, w, m, b, s, v)", more="int8[8,256] v = {" + ", ".join(["1"] * 2048) + "}"),
], ids=["knots", "int8", "others read the codes", "others read the patches", "another order", "no table", "table between"])  # fmt: skip
def test_another_first_layer_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FusePatches())
