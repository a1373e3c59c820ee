"""Reshape, Transpose, Reshape -> Patches."""

import numpy as np
import pytest

from passes.infer_patches import InferPatches
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse


def layout(*, split: str = "-1, 2, 4, 3, 4, 2", perm: str = "0, 1, 3, 2, 4, 5", join: str = "-1, 6, 32", kind: str = "int8",
           shape: str = "[N,8,12,2]", result: str = "[N,6,32]") -> str:  # fmt: skip
    return f"""
        g ({kind}{shape} x) => ({kind}{result} y) <int64[6] a = {{{split}}}, int64[{join.count(",") + 1}] b = {{{join}}}>
        {{ s = Reshape <allowzero = 1> (x, a)
           t = Transpose <perm = [{perm}]> (s)
           y = Reshape <allowzero = 1> (t, b) }}"""


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_the_layout_of_patches_becomes_one_node(kind: type) -> None:
    before = parse(layout(kind=np.dtype(kind).name))
    after = apply(before, InferPatches())
    assert_same(
        after,
        f"""
        g ({np.dtype(kind).name}[N,8,12,2] x) => ({np.dtype(kind).name}[N,6,32] y)
        {{ y = psaflow.hw.Patches <patch = 4> (x) }}""",
    )
    pixels = np.random.default_rng(0).integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, (5, 8, 12, 2)).astype(kind)
    assert_equal_values(before, after, x=pixels)


def test_another_patch_size() -> None:
    before = parse(layout(split="-1, 4, 2, 6, 2, 2", join="-1, 24, 8", result="[N,24,8]"))
    after = apply(before, InferPatches())
    assert [(n.op_type, n.attribute[0].i) for n in after.graph.node] == [("Patches", 2)]
    pixels = np.random.default_rng(0).integers(-128, 128, (5, 8, 12, 2)).astype(np.int8)
    assert_equal_values(before, after, x=pixels)


OTHERS = {
    "patches that are not square": layout(split="-1, 4, 2, 3, 4, 2", join="-1, 12, 16", result="[N,12,16]"),
    "another order": layout(perm="0, 3, 1, 2, 4, 5"),
    "tokens joined otherwise": layout(join="-1, 12, 16", result="[N,12,16]"),
    "five parts": layout(split="-1, 2, 4, 12, 2", perm="0, 1, 3, 2, 4").replace("int64[6] a", "int64[5] a"),
    "an input of three axes": layout(shape="[N,8,24]"),
    "no first reshape": """
        g (int8[N,2,4,3,4,2] x) => (int8[N,6,32] y) <int64[3] b = {-1, 6, 32}>
        { t = Transpose <perm = [0, 1, 3, 2, 4, 5]> (x)
          y = Reshape (t, b) }""",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_another_layout_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), InferPatches())
