"""ResidualAdd -> ElementwiseMul, ElementwiseAdd, PSARequant."""

import pytest

from passes.finn.residual_add_to_elementwise_add import ResidualAddToElementwiseAdd
from tests.passes.finn.graphs import annotated, assert_equal_in_finn, datatypes
from tests.passes.graphs import apply, assert_untouched, attributes, every_pair, node, refusal


def residual(a: int = 0, b: int = 0, shift: int = 0, rounding: str = "HALF_EVEN") -> str:
    return f"""g (int8[N,16,16] a, int8[N,16,16] b) => (int8[N,16,16] y)
        {{ [sum] y = psaflow.hw.ResidualAdd <a_shift = {a}, b_shift = {b}, shift = {shift}, rounding = "{rounding}", lo = -90> (a, b) }}"""


@pytest.mark.parametrize(("shifts", "ops", "total"), [
    ((0, 0, 1), ["ElementwiseAdd", "PSARequant"], "INT9"),
    ((0, 2, 1), ["ElementwiseMul", "ElementwiseAdd", "PSARequant"], "INT11"),
    ((3, 1, 2), ["ElementwiseMul", "ElementwiseAdd", "PSARequant"], "INT11"),
    ((3, 3, 3), ["ElementwiseAdd", "PSARequant"], "INT9"),
    ((1, 2, 0), ["ElementwiseMul", "ElementwiseMul", "ElementwiseAdd", "PSARequant"], "INT11"),
])  # fmt: skip
@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_every_pair_of_codes_is_equal_in_finn(finn, shifts: tuple[int, int, int], ops: list[str], total: str, rounding: str) -> None:
    a, b = (x.reshape(256, 16, 16) for x in every_pair())
    after = assert_equal_in_finn(annotated(residual(*shifts, rounding)), ResidualAddToElementwiseAdd(), a=a, b=b)
    assert [n.op_type for n in after.graph.node] == ops
    assert datatypes(after)[node(after, "ElementwiseAdd").output[0]] == total


def test_a_factor_is_one_constant_of_the_narrowest_type() -> None:
    after = apply(annotated(residual(0, 3, 1)), ResidualAddToElementwiseAdd())
    found = attributes(node(after, "ElementwiseMul"))
    assert [found[k] for k in ("lhs_dtype", "rhs_dtype", "out_dtype", "rhs_shape", "rhs_style")] == ["INT8", "UINT4", "INT11", [1], "const"]
    assert attributes(node(after, "PSARequant"))["lo"] == -90


def test_it_refuses_a_sum_that_float32_does_not_carry() -> None:
    assert "24 bits" in refusal(annotated(residual(0, 18, 1)), ResidualAddToElementwiseAdd())


def test_other_sums_are_left_alone() -> None:
    assert_untouched(annotated("g (int32[N,5] a, int32[N,5] b) => (int32[N,5] y) { y = Add (a, b) }"), ResidualAddToElementwiseAdd())
