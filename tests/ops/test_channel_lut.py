"""ChannelLUT of both domains: tables over every code, and the compiled kernel."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from onnx import TensorProto, helper, parser
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from custom_ops import ChannelLUT, OpError, check_node
from custom_ops.channel_lut import KNOTS, channel_lut, interpolated_bits
from custom_ops.hw import ChannelLUT as HwChannelLUT
from custom_ops.hw import FoldingError, hardware_node
from custom_ops.kernels import KernelError, library
from custom_ops.rounding import ROUNDINGS
from custom_ops.runtime import session

from .faces import assert_faces_agree, inferred, int8, node_model

CODES = {np.int8: np.arange(-128, 128).astype(np.int8), np.uint8: np.arange(256).astype(np.uint8)}
LOWEST = {np.int8: -128, np.uint8: 0}


@pytest.fixture
def kernels():
    try:
        return library()
    except KernelError as error:
        pytest.skip(str(error))


def every_code(kind, channels):
    """[256, channels]: each channel sees every code."""
    return np.repeat(CODES[kind][:, None], channels, 1)


def exact(table, index, bits, rounding):
    """One interpolated entry in rational numbers."""
    k, f = divmod(index, 2**bits)
    left, right = int(table[k]), int(table[k + 1])
    part = Fraction((right - left) * f, 2**bits)
    return left + (round(part) if rounding == "HALF_EVEN" else floor(part + Fraction(1, 2)))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("bits", KNOTS)
def test_interpolation_equals_the_rational_definition_on_every_code(bits, rounding):
    table = int8(np.random.default_rng(bits), 3, KNOTS[bits])
    table[0, ::2], table[0, 1::2] = -128, 127  # steepest
    expected = [[exact(row, index, bits, rounding) for row in table] for index in range(256)]
    np.testing.assert_array_equal(channel_lut(every_code(np.int8, 3), table, rounding), expected)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("width", [256, *KNOTS.values()])
def test_faces_agree_on_every_code(width, kind, rounding):
    table = int8(np.random.default_rng(width), 5, width)
    table[0, ::2], table[0, 1::2] = -128, 127
    assert_faces_agree(ChannelLUT, every_code(kind, 5), table, rounding=rounding, lowest=LOWEST[kind])


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("width", [256, *KNOTS.values()])
@pytest.mark.parametrize("channels", [2, 5, 40])
def test_one_row_serves_all_channels_on_every_code(channels, width, kind):
    row = int8(np.random.default_rng(width), 1, width)
    y = assert_faces_agree(ChannelLUT, every_code(kind, channels), row, rounding="HALF_UP", lowest=LOWEST[kind])
    np.testing.assert_array_equal(y, channel_lut(every_code(kind, channels), np.repeat(row, channels, 0), "HALF_UP", LOWEST[kind]))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("width", [256, *KNOTS.values()])
def test_hardware_faces_agree_on_every_code(width, kind, rounding):
    table = int8(np.random.default_rng(0), 6, width)
    y = assert_faces_agree(HwChannelLUT, every_code(kind, 6), table, rounding=rounding, lowest=LOWEST[kind], PE=3)
    np.testing.assert_array_equal(y, channel_lut(every_code(kind, 6), table, rounding, LOWEST[kind]))


def test_rank_three_keeps_channels_innermost():
    rng = np.random.default_rng(1)
    x, table = int8(rng, 2, 7, 4), int8(rng, 4, 256)
    y = assert_faces_agree(ChannelLUT, x, table)
    assert y[1, 5, 3] == table[3, int(x[1, 5, 3]) + 128]


def test_the_kernel_runs_instead_of_the_body(kernels):
    """The body of this model is wrong on purpose: only the kernel gives the table's values."""
    x, table = every_code(np.int8, 4), int8(np.random.default_rng(2), 4, 256)
    for op in (ChannelLUT, HwChannelLUT):  # the hardware op reaches the kernel through its body
        model = node_model(op, (x, table), (x,), inputs=1)
        wrong = parser.parse_function(
            '<domain: "psaflow", opset_import: ["" : 18]>'
            ' ChannelLUT <rounding: string = "HALF_EVEN", lowest: int = -128> (x, table) => (y) { y = BitwiseNot (x) }'
        )
        kept = [function for function in model.functions if function.domain != "psaflow"]
        del model.functions[:]
        model.functions.extend([*kept, wrong])
        (by_body,) = session(model, kernels=False).run(None, {"in0": x})
        (by_kernel,) = session(model, kernels=True).run(None, {"in0": x})
        np.testing.assert_array_equal(by_body, ~x)
        np.testing.assert_array_equal(by_kernel, channel_lut(x, table))


@pytest.mark.parametrize(
    ("x", "table", "lowest", "reason"),
    [
        ((2, 3, 4), (5, 256), -128, "int8[2,3,4] and table 'in1' int8[5,256]: table must have one row for each of x's channels, or one"),
        ((2, 4), (4, 77), -128, "int8[2,4] and table 'in1' int8[4,77]: table must have 256 entries, or 129, 65,"),
        ((2, 4), (4, 256), 0, "int8[2,4] and table 'in1' int8[4,256]: lowest=0 must be -128 for int8, 0 for uint8"),
        ((2, 4), (4,), -128, "int8[2,4] and table 'in1' int8[4]: x must be"),
    ],
)
def test_the_kernel_refuses_bad_tensors_with_both_shapes(kernels, x, table, lowest, reason):
    arrays = np.zeros(x, np.int8), np.zeros(table, np.int8)
    node = helper.make_node("ChannelLUT", ["in0", "in1"], ["y"], domain="psaflow", lowest=lowest)
    infos = [helper.make_tensor_value_info(f"in{i}", TensorProto.INT8, array.shape) for i, array in enumerate(arrays)]
    graph = helper.make_graph([node], "bad", infos, [helper.make_tensor_value_info("y", TensorProto.INT8, x)])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("psaflow", 1)]
    opened = session(helper.make_model(graph, opset_imports=imports, ir_version=8), kernels=True)
    with pytest.raises(InvalidArgument) as error:
        opened.run(None, {"in0": arrays[0], "in1": arrays[1]})
    assert f"ChannelLUT of x 'in0' {reason}" in str(error.value)


def test_the_kernel_takes_an_empty_batch(kernels):
    x, table = np.zeros((1, 4), np.int8), np.zeros((4, 65), np.int8)
    opened = session(node_model(ChannelLUT, (x, table), (x,), inputs=1), kernels=True)
    assert opened.run(None, {"in0": x[:0]})[0].shape == (0, 4)


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    rng = np.random.default_rng(3)
    for op in (ChannelLUT, HwChannelLUT):
        assert inferred(op, int8(rng, 2, 3, 4), int8(rng, 4, 256)) == [(["N", 3, 4], TensorProto.INT8, "INT8")]


def test_a_table_of_another_width_is_no_table():
    assert [interpolated_bits(width) for width in (256, 129, 65, 33, 17, 9, 5, 3)] == list(range(8))
    with pytest.raises(ValueError, match="256 entries or 129, 65, 33, 17, 9, 5, 3 knots, not 64"):
        interpolated_bits(64)


def test_a_lowest_code_of_another_type_is_refused():
    x, table = np.zeros((1, 2), np.uint8), np.zeros((2, 256), np.int8)
    with pytest.raises(ValueError, match="lowest=-128 must be 0, the lowest code of uint8"):
        channel_lut(x, table)
    node = helper.make_node("ChannelLUT", ["x", "t"], ["y"], name="lut", domain="psaflow")
    with pytest.raises(OpError, match="ChannelLUT lut: x is UINT8 and lowest=-128; INT8 needs -128, UINT8 needs 0"):
        check_node(node, {"x": TensorProto.UINT8})
    with pytest.raises(OpError, match=r"ChannelLUT lut: table is \[2, 64\]; a table has 256 entries or"):
        check_node(node, {}, {"t": helper.make_tensor("t", TensorProto.INT8, [2, 64], [0] * 128)})


def test_hardware_node_answers():
    node = helper.make_node("ChannelLUT", ["x", "t"], ["y"], name="lut", domain="psaflow.hw", PE=4)
    hw = hardware_node(node, {"t": np.zeros((96, 256), np.int8)}, {"x": ("N", 64, 96)})
    assert (hw.in_lanes, hw.out_lanes, hw.in_bits, hw.out_bits) == ((4,), (4,), 8, 8)
    assert hw.folded_input_shapes == hw.folded_output_shapes == ((1, 64, 24, 4),)
    assert hw.cycles == 64 * 24
    assert [tuple(memory) for memory in hw.memories] == [(f"table_{lane:02d}", 24 * 256, 8) for lane in range(4)]
    assert hw.usage("ecp5").bram == 12


@pytest.mark.parametrize(("pe", "blocks"), [(1, 3), (2, 4), (3, 3), (96, 0)])
def test_the_hardware_node_of_knots_holds_the_last_ones_apart(pe, blocks):
    node = helper.make_node("ChannelLUT", ["x", "t"], ["y"], name="lut", domain="psaflow.hw", PE=pe)
    hw = hardware_node(node, {"t": np.zeros((96, 65), np.int8)}, {"x": ("N", 64, 96)})
    lanes = [f"{lane:02d}" for lane in range(pe)]
    assert [tuple(memory) for memory in hw.memories] == [
        *((f"table_{lane}", 96 // pe * 64, 8) for lane in lanes),
        *((f"last_{lane}", 96 // pe, 8) for lane in lanes),
    ]
    assert (hw.usage("ecp5").bram, hw.usage("ecp5").dsp) == (blocks, 0)


def test_hardware_node_refuses_a_wrong_folding_and_a_table_that_is_none():
    node = helper.make_node("ChannelLUT", ["x", "t"], ["y"], name="lut", domain="psaflow.hw", PE=4)
    with pytest.raises(FoldingError, match="ChannelLUT lut: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        hardware_node(node, {"t": np.zeros((6, 256), np.int8)}, {"x": (1, 2, 6)})
    with pytest.raises(FoldingError, match="ChannelLUT lut: its table has 64 entries; 256, or 129, 65, 33, 17, 9, 5, 3 knots"):
        hardware_node(node, {"t": np.zeros((4, 64), np.int8)}, {"x": (1, 2, 4)})
    with pytest.raises(FoldingError, match=r"ChannelLUT lut: table 't' is int8\[1, 65\], must be int8\[4, 65\]"):
        hardware_node(node, {"t": np.zeros((1, 65), np.int8)}, {"x": (1, 2, 4)})
