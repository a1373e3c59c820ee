"""MatMulInteger along tokens, with its Requant -> TokenMix."""

import numpy as np
import pytest

from passes.infer_token_mix import InferTokenMix
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_pair, parse, refusal

PARAMETERS = "int32[1] m = {1}, int32[3] b = {-700, 12, 33}, int32[3] s = {8, 3, 0}"


def mixer(*, parameters: str = PARAMETERS, axis: int = -2, product: str = "MatMulInteger (w, x)") -> str:
    return f"""
        g (int8[N,2,1] x) => (int8[N,3,1] y) <int8[3,2] w = {{127, -128, -3, 5, 1, 2}}, {parameters}>
        {{ [mix_matmul] a = {product}
           [mix] y = psaflow.Requant <axis = {axis}, rounding = "HALF_UP", lo = -100, hi = 127> (a, m, b, s) }}"""


def unit(bias: str = "int32[3] b = {-700, 12, 33}", shift: str = "int32[3] s = {8, 3, 0}") -> str:
    return f"""
        g (int8[N,2,1] x) => (int8[N,3,1] y) <int8[3,2] w = {{127, -128, -3, 5, 1, 2}}, {bias}, {shift}>
        {{ y = psaflow.hw.TokenMix <rounding = "HALF_UP", lo = -100, hi = 127> (x, w, b, s) }}"""


def columns() -> np.ndarray:
    return np.stack(every_pair(), -1)[:, :, None]


def test_a_product_from_the_left_becomes_one_unit() -> None:
    before = parse(mixer())
    after = apply(before, InferTokenMix())
    assert_same(after, unit())
    assert after.graph.node[0].name == "mix"
    assert_equal_values(before, after, x=columns())


def test_single_parameters_are_spread_over_the_tokens() -> None:
    before = parse(mixer(parameters="int32 m = {1}, int32[1] b = {9}, int32 s = {4}"))
    after = apply(before, InferTokenMix())
    assert_same(after, unit("int32[3] b = {9, 9, 9}", "int32[3] s = {4, 4, 4}"))
    assert_equal_values(before, after, x=columns())


def test_weights_on_the_right_are_left_alone() -> None:
    assert_untouched(
        parse("""
        g (int8[N,1,2] x) => (int8[N,1,3] y)
        <int8[2,3] w = {1, 2, 3, 4, 5, 6}, int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {2}>
        { a = MatMulInteger (x, w)
          y = psaflow.Requant (a, m, b, s) }"""),
        InferTokenMix(),
    )


REFUSALS = {
    "along channels": (mixer(parameters="int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {2}", axis=-1), ("mix_matmul", "axis -2")),
    "nothing behind": ("g (int8[N,2,1] x) => (int32[N,3,1] a) <int8[3,2] w = {1, 2, 3, 4, 5, 6}> { [mix_matmul] a = MatMulInteger (w, x) }",
                       ("mix_matmul", "needs a Requant along tokens")),
    "multiplier": (mixer(parameters=PARAMETERS.replace("m = {1}", "m = {3}")), ("mix", "multiplier of 3")),
    "zero point": (mixer(parameters=f"{PARAMETERS}, int8 z = {{3}}", product="MatMulInteger (w, x, z)"), ("mix_matmul", "zero point")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), InferTokenMix())
    for word in words:
        assert word in message
