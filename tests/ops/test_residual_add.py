"""ResidualAdd: two shifted int8 tensors, one rounding."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import OpError, check_node
from custom_ops.hw import FoldingError, ResidualAdd, hardware_node
from custom_ops.hw.residual_add import MOST_LEFT, residual_add
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred

CODES = np.arange(-128, 128).astype(np.int8)
EVERY_PAIR = np.repeat(CODES, 256).reshape(256, 1, 256), np.tile(CODES, 256).reshape(256, 1, 256)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("a_shift", "b_shift", "shift"), [(0, 0, 0), (0, 0, 1), (2, 0, 3), (0, 5, 6), (MOST_LEFT, MOST_LEFT, 24)])
def test_faces_agree_on_every_pair_of_codes(a_shift, b_shift, shift, rounding):
    shifts = {"a_shift": a_shift, "b_shift": b_shift, "shift": shift}
    assert_faces_agree(ResidualAdd, *EVERY_PAIR, inputs=2, rounding=rounding, **shifts)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_reference_equals_the_rational_definition(rounding):
    a, b = (pair.ravel()[::37] for pair in EVERY_PAIR)
    y = residual_add(a, b, a_shift=1, b_shift=3, shift=2, rounding=rounding, lo=-100)
    for x, z, got in zip(a.tolist(), b.tolist(), y.tolist()):
        value = Fraction(x * 2 + z * 8, 4)
        whole = round(value) if rounding == "HALF_EVEN" else floor(value + Fraction(1, 2))
        assert got == min(max(whole, -100), 127)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(ResidualAdd, *EVERY_PAIR, inputs=2) == [(["N", 1, 256], TensorProto.INT8, "INT8")]


def make(**attributes):
    return helper.make_node("ResidualAdd", ["a", "b"], ["y"], name="add", domain="psaflow.hw", **attributes)


def test_hardware_node_answers():
    hw = hardware_node(make(PE=2, a_shift=3), {}, {"a": ("N", 64, 96), "b": ("N", 64, 96)})
    assert (hw.in_lanes, hw.out_lanes, hw.cycles) == ((2, 2), (2,), 64 * 48)
    assert hw.folded_input_shapes == ((1, 64, 48, 2),) * 2
    assert hw.accumulator_bits == 12  # 127 * 9 = 1143
    assert hw.memories == ()


def test_what_does_not_fit_is_refused():
    with pytest.raises(FoldingError, match=r"ResidualAdd add: a is \[64, 96\], b \[64, 48\]; must be the same"):
        hardware_node(make(), {}, {"a": (1, 64, 96), "b": (1, 64, 48)})
    with pytest.raises(FoldingError, match="ResidualAdd add: PE=5 must divide 6 channels; try 1, 2, 3, 6"):
        hardware_node(make(PE=5), {}, {"a": (1, 4, 6), "b": (1, 4, 6)})
    with pytest.raises(OpError, match=r"ResidualAdd add: a_shift=23 must be in 0\.\.22"):
        check_node(make(a_shift=23))
    with pytest.raises(FoldingError, match="ResidualAdd add: no shape for input 'b'; infer shapes first"):
        hardware_node(make(), {}, {"a": (1, 4, 6)})
