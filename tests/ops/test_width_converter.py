"""WidthConverter: an identity between two lane counts."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops.hw import FoldingError, WidthConverter, hardware_node

from .faces import assert_faces_agree, inferred, int8


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_faces_agree(kind):
    assert_faces_agree(WidthConverter, int8(np.random.default_rng(0), 2, 5, 6).astype(kind), in_lanes=6, out_lanes=2)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(WidthConverter, np.zeros((2, 5, 6), np.int8)) == [(["N", 5, 6], TensorProto.INT8, "INT8")]


def plan(in_lanes, out_lanes):
    lanes = {"in_lanes": in_lanes, "out_lanes": out_lanes}
    node = helper.make_node("WidthConverter", ["x"], ["y"], name="widen", domain="psaflow.hw", **lanes)
    return hardware_node(node, {}, {"x": ("N", 64, 12)})


@pytest.mark.parametrize(("in_lanes", "out_lanes", "cycles"), [(1, 4, 768), (4, 1, 768), (12, 2, 384), (3, 3, 256)])
def test_hardware_node_answers(in_lanes, out_lanes, cycles):
    hw = plan(in_lanes, out_lanes)
    assert (hw.in_lanes, hw.out_lanes, hw.cycles) == ((in_lanes,), (out_lanes,), cycles)
    assert (hw.in_beats, hw.out_beats) == ((768 // in_lanes,), (768 // out_lanes,))


def test_what_does_not_fit_is_refused():
    with pytest.raises(FoldingError, match="WidthConverter widen: in_lanes=5 must divide 12 channels; try 1, 2, 3, 4, 6, 12"):
        plan(5, 1)
    with pytest.raises(FoldingError) as error:
        plan(4, 6)
    message = "in_lanes=4 and out_lanes=6 must divide one another; for in_lanes=4 try out_lanes=1, 2, 4, 12"
    assert str(error.value) == f"WidthConverter widen: {message}"
