"""Datatypes and accumulator widths."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto
from qonnx.core.datatype import DataType

from custom_ops import datatypes as dt


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [(-128, 127, "INT8"), (-129, 0, "INT9"), (0, 255, "UINT8"), (0, 256, "UINT9"), (-1, 1, "INT2"), (0, 0, "UINT2")],
)
def test_the_narrowest_datatype(low, high, name):
    assert dt.integer_datatype(low, high).name == name


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="low=1 must not exceed high=0"):
        dt.integer_datatype(1, 0)


@example(-4, 0)
@given(st.integers(-(2**40), 2**40), st.integers(0, 2**40))
def test_signed_bits_hold_the_range_and_one_fewer_does_not(low, width):
    high = low + width
    bits = dt.signed_bits(low, high)
    assert -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1)
    if bits > 2:
        assert low < -(2 ** (bits - 2)) or high >= 2 ** (bits - 2)


def test_containers():
    elements = {"INT8": TensorProto.INT8, "INT4": TensorProto.INT8, "UINT8": TensorProto.UINT8, "UINT4": TensorProto.INT8}
    elements |= {"INT24": TensorProto.INT32, "UINT16": TensorProto.INT32, "FLOAT32": TensorProto.FLOAT}
    assert {name: dt.element_type(DataType[name]) for name in elements} == elements
    with pytest.raises(ValueError, match="UINT32 does not fit INT32"):
        dt.element_type(DataType["UINT32"])
    assert dt.datatype_of(np.zeros(1, np.uint8)).name == "UINT8"
    assert dt.datatype_of(np.zeros(1, np.float32)).name == "FLOAT32"
    assert dt.datatype_of_element(TensorProto.INT32).name == "INT32"
    assert dt.datatype_of_element(TensorProto.FLOAT).name == "FLOAT32"


def test_the_accumulator_range_is_the_worst_case_of_any_order():
    weight, bias = np.array([[-128, 127, 3], [1, 0, -1]], np.int8), np.array([-500, 7], np.int32)
    least, most = 0, 0
    for row, start in zip(weight.astype(int).tolist(), bias.tolist()):
        for codes in itertools.product((-128, 127), repeat=3):
            terms = [w * x for w, x in zip(row, codes)] + [start]
            for order in itertools.permutations(terms):
                sums = list(itertools.accumulate(order))
                least, most = min(least, *sums), max(most, *sums)
    assert dt.accumulator_range(weight, bias) == (least, most)
    assert dt.accumulator_bits(weight, bias) == dt.signed_bits(least, most)
