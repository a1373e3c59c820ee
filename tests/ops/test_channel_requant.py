"""ChannelRequant: a per-channel affine between two int8 tensors."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops.hw import ChannelRequant, FoldingError, hardware_node
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int32


def every_code(channels):
    return np.repeat(np.arange(-128, 128).astype(np.int8)[:, None, None], channels, 2)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_faces_agree_on_every_code(rounding):
    rng = np.random.default_rng(0)
    mult, bias, shift = int32(rng, -(2**15), 2**15, 40), int32(rng, -(2**22), 2**22, 40), int32(rng, 0, 24, 40)
    assert_faces_agree(ChannelRequant, every_code(40), mult, bias, shift, rounding=rounding, lo=-127, PE=8)


def test_an_affine_in_numbers():
    one = np.ones(1, np.int32)
    y = assert_faces_agree(ChannelRequant, every_code(1), 3 * one, 2 * one, 2 * one)
    assert y[[128, 129, 130, 255], 0, 0].tolist() == [0, 1, 2, 96]  # 0.5, 1.25, 2, 95.75


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    one = np.ones(3, np.int32)
    assert inferred(ChannelRequant, every_code(3), one, one, one) == [(["N", 1, 3], TensorProto.INT8, "INT8")]


def test_hardware_node_answers():
    node = helper.make_node("ChannelRequant", list("xmbs"), ["y"], name="scale", domain="psaflow.hw", PE=4)
    constants = {"m": np.full(8, 100, np.int32), "b": np.full(8, -7, np.int32), "s": np.array([3, 9] * 4, np.int32)}
    hw = hardware_node(node, constants, {"x": (1, 64, 8)})
    assert (hw.in_lanes, hw.out_lanes, hw.cycles) == ((4,), (4,), 128)
    assert [tuple(memory) for memory in hw.memories] == [("param", 2, 4 * (8 + 4 + 3))]
    assert hw.accumulator_bits == 15  # -12800 - 7 .. 12700
    assert hw.usage("ecp5").dsp == 4


def test_a_wrong_folding_is_refused():
    node = helper.make_node("ChannelRequant", list("xmbs"), ["y"], name="scale", domain="psaflow.hw", PE=3)
    constants = {name: np.ones(8, np.int32) for name in "mbs"}
    with pytest.raises(FoldingError, match="ChannelRequant scale: PE=3 must divide 8 channels; try 1, 2, 4, 8"):
        hardware_node(node, constants, {"x": (1, 64, 8)})
    node.attribute[0].i = 4
    with pytest.raises(FoldingError, match=r"mult 'm' is int64\[8\], must be int32\[8\]"):
        hardware_node(node, constants | {"m": np.ones(8, np.int64)}, {"x": (1, 64, 8)})


def test_where_every_multiplier_is_one_the_hardware_has_none():
    node = helper.make_node("ChannelRequant", list("xmbs"), ["y"], name="scale", domain="psaflow.hw", PE=4)
    constants = {"m": np.ones(8, np.int32), "b": np.full(8, -7, np.int32), "s": np.array([3, 9] * 4, np.int32)}
    hw = hardware_node(node, constants, {"x": (1, 64, 8)})
    assert [tuple(memory) for memory in hw.memories] == [("param", 2, 4 * (0 + 4 + 3))]
    assert hw.usage("ecp5").dsp == 0
