"""PSALUT: its values for every code, and what it answers FINN."""

import numpy as np
import pytest

from custom_ops import OpError
from tests.ops.finn.nodes import PART, finn_op


def lut(finn, kind: str = "INT8", **attributes):
    return finn_op("PSALUT", **{"NumChannels": 96, "inputDataType": kind, "numInputVectors": [1, 64, 1]} | attributes)


@pytest.mark.parametrize(("kind", "lowest"), [("INT8", -128), ("UINT8", 0)])
def test_every_code_of_every_channel_reads_its_entry(finn, kind: str, lowest: int) -> None:
    table = np.random.default_rng(0).integers(-128, 128, (5, 256)).astype(np.int8)
    codes = np.repeat(np.arange(lowest, lowest + 256)[:, None], 5, 1)
    context = {"x": codes.astype(np.float32).reshape(1, 256, 1, 5), "c0": table}
    op = lut(finn, kind, NumChannels=5, numInputVectors=[1, 256, 1])
    op.execute_node(context, None)
    assert context["y"].dtype == np.float32
    np.testing.assert_array_equal(context["y"].reshape(256, 5), table.T)
    assert op.lowest == lowest


@pytest.mark.parametrize("pe", [1, 4, 96])
def test_streams_and_cycles_follow_the_folding(finn, pe: int) -> None:
    op = lut(finn, PE=pe)
    assert op.get_normal_input_shape() == op.get_normal_output_shape() == (1, 64, 1, 96)
    assert op.get_folded_input_shape() == op.get_folded_output_shape() == (1, 64, 1, 96 // pe, pe)
    assert (op.get_instream_width(0), op.get_instream_width(1), op.get_outstream_width()) == (8 * pe, 0, 8 * pe)
    assert op.get_exp_cycles() == op.get_number_output_values() == 6144 // pe
    assert op.get_verilog_top_module_intf_names()["s_axis"] == [("in0_V", 8 * pe)]


@pytest.mark.parametrize(("pe", "blocks"), [(1, 11), (2, 12), (8, 16), (96, 96)])
def test_each_lane_reads_block_memories_of_its_own(finn, pe: int, blocks: int) -> None:
    found = lut(finn, PE=pe).node_res_estimation(PART)
    assert (found["BRAM_18K"], found["DSP"], found["URAM"]) == (blocks, 0, 0)
    assert found["BRAM_efficiency"] == pytest.approx(96 * 2048 / (blocks * 18432))
    assert 0 < found["LUT"] < lut(finn, PE=96).node_res_estimation(PART)["LUT"] or pe == 96
    assert lut(finn).get_op_and_param_counts() == {"param_table_8b": 96 * 256}


def test_a_folding_that_does_not_divide_is_refused(finn) -> None:
    with pytest.raises(OpError, match="PSALUT node: PE=5 must divide 96 channels"):
        lut(finn, PE=5).get_folded_output_shape()


def test_more_lanes_than_the_module_numbers_are_refused(finn) -> None:
    with pytest.raises(OpError, match="PSALUT node: PE=192 is above 100 lanes"):
        lut(finn, NumChannels=192, PE=192).get_exp_cycles()


def test_codes_of_another_width_are_refused(finn) -> None:
    with pytest.raises(OpError, match="its input is INT4; its tables are for INT8 or UINT8"):
        lut(finn, "INT4").verify_node()
