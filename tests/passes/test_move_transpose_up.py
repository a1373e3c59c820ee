"""Transpose(f(x)) -> f(Transpose(x)), towards the product of a transposed tensor."""

import numpy as np
import pytest

from passes.move_transpose_up import MoveTransposeUp
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'
X = np.random.default_rng(0).integers(-20, 20, (16, 2, 3)).astype(np.float32) / 4


def mixer(function: str, constants: str = "") -> str:
    """y = Transpose(function of p), p the product of the transposed x [N, 2, 3] with W [2, 4]."""
    return f"""
        g (float[N,2,3] x) => (float[N,4,3] y)
        <float[2,4] w = {{1, 2, 3, 4, 5, 6, 7, 8}}, float s = {{0.5}}, float z = {{0}}, float n = {{8}}{constants}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           p = MatMul (t, w)
           {function}
           y = Transpose <perm = [0, 2, 1]> (f) }}"""


def moved(function: str, constants: str = "") -> str:
    """The same with the second transpose behind the product; `function` reads p."""
    return f"""
        g (float[N,2,3] x) => (float[N,4,3] y)
        <float[2,4] w = {{1, 2, 3, 4, 5, 6, 7, 8}}, float s = {{0.5}}, float z = {{0}}, float n = {{8}}{constants}>
        {{ t = Transpose <perm = [0, 2, 1]> (x)
           m = MatMul (t, w)
           p = Transpose <perm = [0, 2, 1]> (m)
           {function} }}"""


@pytest.mark.parametrize("function", ["Relu (p)", f"{QUANT} (p, s, z, n)"], ids=["Relu", "Quant"])
def test_it_moves_through(function: str) -> None:
    before = parse(mixer(f"f = {function}"))
    after = apply(before, MoveTransposeUp())
    assert_same(after, moved(f"y = {function}"))
    assert_equal_values(before, after, x=X)


def test_an_added_constant_becomes_a_column() -> None:
    before = parse(mixer("f = Add (p, b)", ", float[4] b = {1, -2, 3, -4}"))
    after = apply(before, MoveTransposeUp())
    assert_same(after, moved("y = Add (p, b)", ", float[4,1] b = {1, -2, 3, -4}"))
    assert_equal_values(before, after, x=X)


def test_an_added_quantized_constant_becomes_a_column_with_its_scales() -> None:
    before = parse(mixer(f"q = {QUANT} (b, e, z, n) f = Add (p, q)", ", float[4] b = {1, -2, 3, -4}, float[4] e = {1, 2, 0.5, 1}"))
    after = apply(before, MoveTransposeUp())
    assert_same(after, moved(f"q = {QUANT} (b, e, z, n) y = Add (p, q)", ", float[4,1] b = {1, -2, 3, -4}, float[4,1] e = {1, 2, 0.5, 1}"))
    assert_equal_values(before, after, x=X)


def test_an_added_quantized_constant_with_one_scale_keeps_it() -> None:
    before = parse(mixer(f"q = {QUANT} (b, s, z, n) f = Add (p, q)", ", float[4] b = {1, -2, 3, -4}"))
    after = apply(before, MoveTransposeUp())
    assert_same(after, moved(f"q = {QUANT} (b, s, z, n) y = Add (p, q)", ", float[4,1] b = {1, -2, 3, -4}"))
    assert_equal_values(before, after, x=X)


def test_it_moves_through_a_whole_chain() -> None:
    before = parse(mixer(f"a = Add (p, b) r = Relu (a) f = {QUANT} (r, s, z, n)", ", float[4] b = {1, -2, 3, -4}"))
    after = apply(before, MoveTransposeUp())
    assert_same(after, moved(f"a = Add (p, b) r = Relu (a) y = {QUANT} (r, s, z, n)", ", float[4,1] b = {1, -2, 3, -4}"))
    assert_equal_values(before, after, x=X)


@pytest.mark.parametrize("constant", ["float b = {2}", "float[1] b = {2}"])
def test_one_added_number_stays_what_it_is(constant: str) -> None:
    before = parse(mixer("f = Add (p, b)", f", {constant}"))
    assert_equal_values(before, apply(before, MoveTransposeUp()), x=X)


@pytest.mark.parametrize("shape", ["[1,4]", "[1,1,4]", "[3,4]"])
def test_an_added_constant_with_more_axes_keeps_the_answer(shape: str) -> None:
    values = ", ".join(str(v) for v in range(12 if shape == "[3,4]" else 4))
    before = parse(mixer("f = Add (p, b)", f", float{shape} b = {{{values}}}"))
    assert_equal_values(before, apply(before, MoveTransposeUp()), x=X)


@pytest.mark.parametrize(
    "function",
    [
        "f = Sigmoid (p)",  # no rule for it
        "c = Relu (x) u = Transpose <perm = [0, 2, 1]> (c) v = MatMul (u, w) f = Add (p, v)",  # no constant is added
        f"f = {QUANT} (p, e, z, n)",  # scales per channel
    ],
)
def test_what_it_cannot_pass_stops_it(function: str) -> None:
    assert_untouched(parse(mixer(function, ", float[4] e = {1, 2, 0.5, 1}")), MoveTransposeUp())


def test_a_tensor_with_a_second_reader_stops_it() -> None:
    assert_untouched(
        parse("""
        g (float[N,2,3] x) => (float[N,4,3] y, float[N,3,4] f) <float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { t = Transpose <perm = [0, 2, 1]> (x)
          p = MatMul (t, w)
          f = Relu (p)
          y = Transpose <perm = [0, 2, 1]> (f) }"""),
        MoveTransposeUp(),
    )


def test_it_does_not_move_where_no_product_of_a_transposed_tensor_waits() -> None:
    assert_untouched(
        parse("""
        g (float[N,2,3] x) => (float[N,3,2] y)
        { f = Relu (x)
          y = Transpose <perm = [0, 2, 1]> (f) }"""),
        MoveTransposeUp(),
    )
    assert_untouched(
        parse("""
        g (float[N,3,2] x) => (float[N,4,3] y) <float[2,4] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { p = MatMul (x, w)
          f = Relu (p)
          y = Transpose <perm = [0, 2, 1]> (f) }"""),
        MoveTransposeUp(),
    )


def test_another_permutation_is_left_alone() -> None:
    assert_untouched(parse(mixer("f = Relu (p)").replace("y = Transpose <perm = [0, 2, 1]>", "y = Transpose <perm = [2, 1, 0]>")
                           .replace("float[N,4,3] y", "float[4,3,N] y")), MoveTransposeUp())  # fmt: skip
