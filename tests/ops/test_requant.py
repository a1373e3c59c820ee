"""Requant: every face equals the exact rational definition."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from custom_ops import OpError, Requant, check_node
from custom_ops.requant import requant
from custom_ops.rounding import ROUNDINGS, shift_right

from .faces import assert_faces_agree, inferred, int8, int32

CODE = st.integers(-128, 127)
INT32 = st.integers(-(2**31), 2**31 - 1)
EXTREMES = np.array([-(2**31), -(2**31) + 1, -(2**24), -129, -128, -1, 0, 1, 127, 128, 2**24, 2**31 - 1], np.int32)


def exact(x, mult, bias, shift, *, rounding, lo=-128, hi=127):
    """The definition in rational numbers, for Python integers."""
    value = Fraction(x * mult + bias, 2**shift)
    rounded = round(value) if rounding == "HALF_EVEN" else floor(value + Fraction(1, 2))
    return min(max(rounded, lo), hi)


@settings(max_examples=400, deadline=None)
@given(st.tuples(INT32, INT32, INT32), st.integers(0, 31), st.sampled_from(ROUNDINGS), st.tuples(CODE, CODE).map(sorted))
def test_reference_equals_the_rational_definition(numbers, shift, rounding, limits):
    (x, mult, bias), (lo, hi) = numbers, limits
    got = requant(np.array([x], np.int32), mult, bias, shift, rounding=rounding, lo=lo, hi=hi)
    assert got == exact(x, mult, bias, shift, rounding=rounding, lo=lo, hi=hi)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_ties_round_as_named_for_every_shift(rounding):
    for shift in range(1, 32):
        for whole in range(-130, 130):
            tie = (whole << shift) + (1 << (shift - 1))
            for value in (tie - 1, tie, tie + 1):
                assert shift_right(value, shift, rounding).clip(-128, 127) == exact(value, 1, 0, shift, rounding=rounding)


def test_shift_right_refuses_another_rounding():
    with pytest.raises(ValueError, match="rounding=UP must be HALF_EVEN or HALF_UP"):
        shift_right(1, 1, "UP")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", [np.int8, np.int32])
def test_faces_agree_on_ties_at_every_shift(kind, rounding):
    """Channel s has shift s; x runs over all int8 codes, mult and bias put every quotient on or beside a tie."""
    x = np.repeat(np.arange(-128, 128).astype(kind)[:, None], 32, 1)
    shift = np.arange(32, dtype=np.int32)
    half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0).astype(np.int32)
    for beside in (-1, 0, 1):
        assert_faces_agree(Requant, x, half, (half + beside).astype(np.int32), shift, rounding=rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_faces_agree_on_extreme_and_random_accumulators(rounding):
    rng = np.random.default_rng(1)
    x = np.concatenate([np.repeat(EXTREMES, 12), int32(rng, -(2**31), 2**31 - 1, 4000), int32(rng, -(2**14), 2**14, 4000)])
    for mult, bias in ((1, 0), (-(2**31), 2**31 - 1), (2**31 - 1, -(2**31)), (3, -5), (0, 7)):
        shift = np.arange(32, dtype=np.int32)
        columns = np.repeat(x[:, None], 32, 1)
        assert_faces_agree(Requant, columns, np.int32(mult), np.array([bias], np.int32), shift, rounding=rounding)


@pytest.mark.parametrize("axis", [-1, -2, -3, -4])
def test_parameters_run_along_the_axis(axis):
    rng = np.random.default_rng(2)
    x = int32(rng, -(2**20), 2**20, 2, 3, 4, 5)
    n = x.shape[axis]
    mult, bias, shift = int32(rng, -9, 9, n), int32(rng, -99, 99, n), int32(rng, 0, 20, n)
    y = assert_faces_agree(Requant, x, mult, bias, shift, axis=axis)
    for i in range(n):
        one = requant(x.take(i, axis), mult[i], bias[i], shift[i])
        np.testing.assert_array_equal(y.take(i, axis), one)


def test_scalar_one_element_and_vector_parameters_mix():
    rng = np.random.default_rng(3)
    x = int32(rng, -(2**16), 2**16, 3, 7, 5)
    vector = int32(rng, 0, 12, 7)
    assert_faces_agree(Requant, x, np.int32(3), np.array([11], np.int32), vector, axis=-2, rounding="HALF_UP")
    assert_faces_agree(Requant, int8(rng, 4, 5), np.int32(1), np.int32(0), np.array([1], np.int32))


def test_lo_and_hi_clip():
    x = np.arange(-300, 300, dtype=np.int32)[:, None]
    y = assert_faces_agree(Requant, x, np.int32(1), np.int32(0), np.int32(1), lo=0, hi=100)
    assert (y.min(), y.max()) == (0, 100)


def test_an_empty_batch_gives_an_empty_result():
    one = np.int32(1)
    assert requant(np.zeros((0, 3), np.int32), one, one, one).shape == (0, 3)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    rng = np.random.default_rng(4)
    x, shift = int32(rng, -9, 9, 2, 4, 5), int32(rng, 0, 3, 4)
    for axis, n in ((-1, 5), (-2, 4)):
        found = inferred(Requant, x, np.int32(1), np.int32(0), shift[:1].repeat(n), axis=axis)
        assert found == [(["N", 4, 5], TensorProto.INT8, "INT8")]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"axis": 1}, "Requant node: axis=1 must be -1, -2, -3 or -4 (from the end)"),
        ({"lo": 5, "hi": 4}, "Requant node: lo=5, hi=4 must satisfy -128 <= lo <= hi <= 127"),
        ({"hi": 255}, "Requant node: lo=-128, hi=255 must satisfy -128 <= lo <= hi <= 127"),
        ({"rounding": "HALF_DOWN"}, "Requant node: rounding=HALF_DOWN must be HALF_EVEN or HALF_UP"),
        ({"lo": 1.0}, "Requant node: lo=1.0 must be int"),
        ({"round": "HALF_UP"}, "Requant node: no attribute 'round'; did you mean 'rounding'?"),
    ],
)
def test_a_bad_attribute_is_refused_in_one_line(attributes, message):
    node = helper.make_node("Requant", ["x", "m", "b", "s"], ["y"], name="node", domain="psaflow", **attributes)
    with pytest.raises(OpError) as error:
        check_node(node)
    assert str(error.value) == message


def test_bad_inputs_are_refused_in_one_line():
    node = helper.make_node("Requant", ["x", "m", "b"], ["y"], name="node", domain="psaflow")
    with pytest.raises(OpError, match="Requant node: 3 inputs; give x, mult, bias, shift"):
        check_node(node)
    node.input.append("s")
    with pytest.raises(OpError, match=r"Requant node: shifts 0\.\.32 must be in 0\.\.31"):
        check_node(node, {}, {"s": helper.make_tensor("s", TensorProto.INT32, [2], [0, 32])})
    with pytest.raises(OpError, match="Requant node: bias 'b' is INT64, must be INT32"):
        check_node(node, {"x": TensorProto.INT32, "b": TensorProto.INT64})
