"""Patches: raster order to patches."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops.hw import FoldingError, Patches, hardware_node
from custom_ops.hw.patches import patches

from .faces import assert_faces_agree, inferred


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize(("height", "width", "features", "patch"), [(32, 32, 3, 4), (4, 6, 1, 2), (8, 4, 5, 4), (2, 2, 3, 1)])
def test_faces_agree(height, width, features, patch, kind):
    info = np.iinfo(kind)
    x = np.random.default_rng(0).integers(info.min, info.max + 1, (2, height, width, features), dtype=kind)
    assert_faces_agree(Patches, x, patch=patch)


def test_reference_equals_the_order_written_out():
    x = np.arange(8 * 12 * 3, dtype=np.int64).astype(np.uint8).reshape(1, 8, 12, 3)
    order = [
        x[0, 4 * i + row, 4 * j + column, colour]
        for i in range(2) for j in range(3) for row in range(4) for column in range(4) for colour in range(3)
    ]  # fmt: skip
    assert patches(x, patch=4).ravel().tolist() == order


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    assert inferred(Patches, np.zeros((2, 8, 8, 3), np.uint8)) == [(["N", 4, 48], TensorProto.UINT8, "UINT8")]
    assert inferred(Patches, np.zeros((2, 8, 8, 3), np.int8)) == [(["N", 4, 48], TensorProto.INT8, "INT8")]


def plan(shape, **attributes):
    node = helper.make_node("Patches", ["x"], ["y"], name="patches", domain="psaflow.hw", **attributes)
    return hardware_node(node, {}, {"x": shape})


def test_hardware_node_answers():
    hw = plan(("N", 32, 32, 3), PE=6)
    assert (hw.in_lanes, hw.out_lanes, hw.cycles, hw.in_beats, hw.out_beats) == ((6,), (6,), 512, (512,), (512,))
    assert hw.folded_output_shapes == ((1, 64, 8, 6),)
    assert [tuple(memory) for memory in hw.memories] == [("buffer", 2 * 4 * 32 * 3 // 6, 48)]


def test_what_does_not_fit_is_refused():
    with pytest.raises(FoldingError, match="Patches patches: PE=5 must divide 12 bytes in a patch's row; try 1, 2, 3, 4, 6, 12"):
        plan((1, 32, 32, 3), PE=5)
    with pytest.raises(FoldingError, match="Patches patches: patch=5 must divide 32 x 32 pixels"):
        plan((1, 32, 32, 3), patch=5)
