"""Fork: the same stream twice."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import OpError, check_node
from custom_ops.hw import FoldingError, Fork, hardware_node

from .faces import assert_faces_agree, inferred, int8


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_faces_agree(kind):
    assert_faces_agree(Fork, int8(np.random.default_rng(0), 2, 5, 6).astype(kind), PE=2)


def test_shape_and_datatype_are_inferred_for_both_outputs():
    assert inferred(Fork, np.zeros((2, 5, 6), np.int8)) == [(["N", 5, 6], TensorProto.INT8, "INT8")] * 2


def test_hardware_node_answers():
    node = helper.make_node("Fork", ["x"], ["a", "b"], name="fork", domain="psaflow.hw", PE=2)
    hw = hardware_node(node, {}, {"x": ("N", 5, 6)}, {"x": 32})
    assert (hw.in_lanes, hw.out_lanes, hw.in_bits, hw.out_bits, hw.cycles) == ((2,), (2, 2), 32, 32, 15)
    node.attribute[0].i = 4
    with pytest.raises(FoldingError, match="Fork fork: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        hardware_node(node, {}, {"x": ("N", 5, 6)})


def test_a_single_output_is_refused():
    with pytest.raises(OpError, match="Fork fork: 1 outputs; give a, b"):
        check_node(helper.make_node("Fork", ["x"], ["a"], name="fork", domain="psaflow.hw"))
