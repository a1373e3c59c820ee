"""Integer products in float32: the same integers."""

import numpy as np

from passes.float_products import FloatProducts
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, parse
from tests.passes.tables import network, pixels


def test_every_product_is_float_and_every_answer_the_same() -> None:
    after = apply(network(), FloatProducts())
    assert [n.op_type for n in after.graph.node].count("MatMul") == 3
    assert all(n.op_type != "MatMulInteger" for n in after.graph.node)
    assert_equal_values(network(), after, pixels=pixels(300))


def test_the_largest_accumulators_are_exact() -> None:
    """1023 products of -128 * -128, the most that stays below 2**24."""
    text = "g (int8[N,1023] x) => (int32[N,2] y) <int8[1023,2] w = {WEIGHTS}> { y = MatMulInteger (x, w) }"
    model = parse(text.replace("WEIGHTS", ", ".join(["-128, 127"] * 1023)))
    x = np.full((2, 1023), -128, np.int8)
    x[1, ::2] = 127
    assert_equal_values(model, apply(model, FloatProducts()), x=x)


def test_products_with_zero_points_stay() -> None:
    assert_untouched(parse("""g (int8[N,2] x) => (int32[N,1] y) <int8[2,1] w = {3, 4}, int8 z = {1}>
                              { y = MatMulInteger (x, w, z) }"""), FloatProducts())  # fmt: skip
