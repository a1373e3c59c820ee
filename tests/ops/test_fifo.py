"""Fifo: an identity with a depth."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import OpError, check_node
from custom_ops.hw import Fifo, FoldingError, hardware_node

from .faces import assert_faces_agree, inferred, int8


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_faces_agree(kind):
    assert_faces_agree(Fifo, int8(np.random.default_rng(0), 2, 5, 6).astype(kind), depth=7, PE=3)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(Fifo, np.zeros((2, 5, 6), np.int32)) == [(["N", 5, 6], TensorProto.INT32, "INT32")]


def test_hardware_node_answers():
    node = helper.make_node("Fifo", ["x"], ["y"], name="fifo", domain="psaflow.hw", depth=3072, PE=2)
    hw = hardware_node(node, {}, {"x": ("N", 64, 96)})
    assert (hw.in_lanes, hw.out_lanes, hw.cycles) == ((2,), (2,), 64 * 48)
    assert [tuple(memory) for memory in hw.memories] == [("beats", 3072, 16)]
    assert hw.usage("ecp5").bram == 3


def test_what_does_not_fit_is_refused():
    node = helper.make_node("Fifo", ["x"], ["y"], name="fifo", domain="psaflow.hw", depth=0)
    with pytest.raises(OpError, match="Fifo fifo: depth=0 must be at least 1 beat"):
        check_node(node)
    with pytest.raises(FoldingError, match="Fifo fifo: depth=0 must be at least 1 beat"):
        hardware_node(node, {}, {"x": (1, 2, 6)})
    node = helper.make_node("Fifo", ["x"], ["y"], name="fifo", domain="psaflow.hw", PE=5)
    with pytest.raises(FoldingError, match="Fifo fifo: PE=5 must divide 6 channels; try 1, 2, 3, 6"):
        hardware_node(node, {}, {"x": (1, 2, 6)})
