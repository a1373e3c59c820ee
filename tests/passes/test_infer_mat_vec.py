"""MatMulInteger along channels, with its Requant or bias -> MatVec."""

import numpy as np
import pytest

from passes.infer_mat_vec import InferMatVec
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, every_pair, parse, refusal

WEIGHT = "int8[2,3] w = {127, -3, 1, -128, 5, 2}"
PARAMETERS = "int32[1] m = {1}, int32[3] b = {-700, 12, 33}, int32[3] s = {8, 3, 0}"


def requantized(*, parameters: str = PARAMETERS, axis: int = -1, product: str = "MatMulInteger (x, w)", inputs: str = "", more: str = "",
                tail: str = "", shape: str = "[N,1,3]") -> str:  # fmt: skip
    return f"""
        g (int8[N,1,2] x{inputs}) => (int8{shape} y{more}) <{WEIGHT}, {parameters}>
        {{ [fc_matmul] a = {product}
           [fc] y = psaflow.Requant <axis = {axis}, rounding = "HALF_UP", lo = 0, hi = 127> (a, m, b, s)
           {tail} }}"""


def biased(bias: str = "int32[3] b = {-700, 12, 33}", add: str = "Add (a, b)", inputs: str = "") -> str:
    return f"""
        g (int8[N,1,2] x{inputs}) => (int32[N,1,3] y) <{WEIGHT}{", " if bias else ""}{bias}>
        {{ [fc_matmul] a = MatMulInteger (x, w)
           [fc] y = {add} }}"""


def unit(bias: str, shift: str = "", options: str = "") -> str:
    kind = "int8" if shift else "int32"
    return f"""
        g (int8[N,1,2] x) => ({kind}[N,1,3] y) <int8[3,2] w = {{127, -128, -3, 5, 1, 2}}, {bias}{shift}>
        {{ y = psaflow.hw.MatVec {options} (x, w, b{", s" if shift else ""}) }}"""


OPTIONS = '<rounding = "HALF_UP", lo = 0, hi = 127>'
BIAS, SHIFT = "int32[3] b = {-700, 12, 33}", ", int32[3] s = {8, 3, 0}"


def rows() -> np.ndarray:
    return np.stack(every_pair(), -1)[:, None, :]


def test_a_requantized_product_becomes_one_unit() -> None:
    before = parse(requantized())
    after = apply(before, InferMatVec())
    assert_same(after, unit(BIAS, SHIFT, OPTIONS))
    assert after.graph.node[0].name == "fc"
    assert_equal_values(before, after, x=rows())


def test_single_parameters_are_spread_over_the_rows() -> None:
    before = parse(requantized(parameters="int32 m = {1}, int32[1] b = {9}, int32 s = {4}"))
    after = apply(before, InferMatVec())
    assert_same(after, unit("int32[3] b = {9, 9, 9}", ", int32[3] s = {4, 4, 4}", OPTIONS))
    assert_equal_values(before, after, x=rows())


def test_a_product_with_a_bias_becomes_a_unit_that_gives_its_accumulator() -> None:
    before = parse(biased())
    after = apply(before, InferMatVec())
    assert_same(after, unit(BIAS))
    assert_equal_values(before, after, x=rows())


def test_weights_on_the_left_are_left_alone() -> None:
    assert_untouched(
        parse("""
        g (int8[N,2,1] x) => (int8[N,3,1] y)
        <int8[3,2] w = {1, 2, 3, 4, 5, 6}, int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {2}>
        { a = MatMulInteger (w, x)
          y = psaflow.Requant <axis = -2> (a, m, b, s) }"""),
        InferMatVec(),
    )


REFUSALS = {
    "multiplier": (requantized(parameters=PARAMETERS.replace("m = {1}", "m = {3}")), ("fc", "multiplier of 3", "power-of-two")),
    "one multiplier of many": (requantized(parameters=PARAMETERS.replace("[1] m = {1}", "[3] m = {1, 1, 5}")), ("fc", "multiplier of 5")),
    "negative multiplier": (requantized(parameters=PARAMETERS.replace("[1] m = {1}", "[3] m = {1, -7, 1}")), ("fc", "multiplier of -7")),
    "axis": (requantized(parameters="int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {2}", axis=-2), ("fc_matmul", "Requant or a bias")),
    "nothing behind": (f"g (int8[N,1,2] x) => (int32[N,1,3] a) <{WEIGHT}> {{ [fc_matmul] a = MatMulInteger (x, w) }}",
                       ("fc_matmul", "Requant or a bias")),
    "two readers": (requantized(more=", int32[N,1,3] r", tail="r = Neg (a)"), ("fc_matmul", "Requant or a bias")),
    "computed bias": (biased("", inputs=", int32[3] b"), ("fc_matmul", "no constant")),
    "computed shift": (requantized(parameters=PARAMETERS.replace(", int32[3] s = {8, 3, 0}", ""), inputs=", int32[3] s"),
                       ("fc", "no constants")),
    "zero point": (requantized(parameters=f"{PARAMETERS}, int8 z = {{3}}", product="MatMulInteger (x, w, z)"), ("fc_matmul", "zero point")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), InferMatVec())
    for word in words:
        assert word in message
