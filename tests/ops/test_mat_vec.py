"""MatVec: exact int8 products with requantization, and the raw accumulator."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import OpError, check_node
from custom_ops.hw import FoldingError, MatVec, hardware_node
from custom_ops.hw.mat_vec import mat_vec
from custom_ops.rounding import ROUNDINGS

from .faces import assert_faces_agree, inferred, int8, int32


def case(seed, tokens=7, columns=12, rows=9, batch=3):
    rng = np.random.default_rng(seed)
    weight, bias, shift = int8(rng, rows, columns), int32(rng, -(2**16), 2**16, rows), int32(rng, 0, 12, rows)
    return int8(rng, batch, tokens, columns), weight, bias, shift


def node(*, shift=True, **attributes):
    names = ["x", "w", "b", "s"][: 4 if shift else 3]
    return helper.make_node("MatVec", names, ["y"], name="matvec_3", domain="psaflow.hw", **attributes)


def constants(rows, columns, bias=0):
    return {"w": np.ones((rows, columns), np.int8), "b": np.full(rows, bias, np.int32), "s": np.arange(rows, dtype=np.int32) % 4}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_faces_agree(rounding):
    assert_faces_agree(MatVec, *case(0), rounding=rounding, lo=-100, PE=3, SIMD=4)


def test_faces_agree_on_the_accumulator():
    y = assert_faces_agree(MatVec, *case(1)[:3])
    assert y.dtype == np.int32


def test_sums_of_extreme_products_are_exact():
    """Neither saturating int16 pairs nor float32 sums: 512 products of -128 * -128, -128 * 127, 127 * 127."""
    columns = 512
    x = np.stack([np.full((1, columns), code, np.int8) for code in (-128, 127, -127)])
    weight = np.stack([np.full(columns, code, np.int8) for code in (-128, 127, -1)])
    y = assert_faces_agree(MatVec, x, weight, np.array([1, -1, 2**24], np.int32))
    assert y[0, 0, 0] == columns * 128 * 128 + 1
    assert y[1, 0, 1] == columns * 127 * 127 - 1


def test_reference_equals_sums_of_python_integers():
    x, weight, bias, shift = case(2, batch=1)
    y = mat_vec(x, weight, bias)
    for t in range(7):
        for m in range(9):
            assert y[0, t, m] == sum(int(a) * int(b) for a, b in zip(weight[m], x[0, t])) + int(bias[m])
    assert mat_vec(x, weight, bias, shift * 0, lo=-1, hi=1).tolist() == y.clip(-1, 1).tolist()


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    arrays = case(3)
    assert inferred(MatVec, *arrays) == [(["N", 7, 9], TensorProto.INT8, "INT8")]
    assert inferred(MatVec, *arrays[:3]) == [(["N", 7, 9], TensorProto.INT32, "INT32")]


def test_hardware_node_answers():
    hw = hardware_node(node(PE=8, SIMD=12, in_lanes=3, out_lanes=4), constants(96, 48, bias=100), {"x": ("N", 64, 48)})
    assert (hw.name, hw.op_type, hw.in_lanes, hw.out_lanes, hw.out_bits) == ("matvec_3", "MatVec", (3,), (4,), 8)
    assert (hw.folded_input_shapes, hw.folded_output_shapes) == (((1, 64, 16, 3),), ((1, 64, 24, 4),))
    assert (hw.cycles, hw.in_beats, hw.out_beats) == (64 * 12 * 4, (1024,), (1536,))
    assert hw.accumulator_bits == 14  # -128 * 48 .. 127 * 48 + 100
    sizes = {name: (depth, width) for name, depth, width in hw.memories}
    assert sizes == {"weight": (48, 768), "param": (24, 4 * (8 + 2)), "token": (8, 96)}
    assert hw.usage("ecp5").dsp == 96


def test_a_unit_that_gathers_all_columns_has_no_token_memory():
    for folding in ({"PE": 2, "SIMD": 48}, {"PE": 96, "SIMD": 4}):
        hw = hardware_node(node(**folding), constants(96, 48), {"x": ("N", 64, 48)})
        assert [memory.name for memory in hw.memories] == ["weight", "param"]


@pytest.mark.parametrize(
    ("folding", "cycles"),
    [
        ({"PE": 1, "SIMD": 48}, 96),
        ({"PE": 4, "SIMD": 48}, 96),  # the output sets the pace
        ({"PE": 4, "SIMD": 48, "out_lanes": 2}, 48),  # now both, and the input
        ({"PE": 4, "SIMD": 48, "in_lanes": 2, "out_lanes": 4}, 24),
        ({"PE": 3, "SIMD": 6}, 256),
    ],
)
def test_the_slowest_of_products_input_and_output_sets_the_pace(folding, cycles):
    assert hardware_node(node(**folding), constants(96, 48), {"x": ("N", 64, 48)}).cycles == 64 * cycles


def test_products_out_of_luts_and_packed_ones_take_fewer_multipliers():
    def dsp(**folding):
        return hardware_node(node(**folding), constants(96, 48), {"x": ("N", 64, 48)}).usage("xcup").dsp

    assert dsp(PE=3, SIMD=6) == 18
    assert dsp(PE=3, SIMD=6, fabric=5) == 13
    assert dsp(PE=3, SIMD=6, packed=1) == 12
    assert dsp(PE=4, SIMD=6, packed=1) == 12


def test_hardware_node_without_shift_gives_32_bits_per_element():
    hw = hardware_node(node(shift=False, PE=2, out_lanes=2), constants(10, 8), {"x": (0, 1, 8)})
    assert (hw.out_lanes, hw.out_bits, hw.cycles) == ((2,), 32, 40)


@pytest.mark.parametrize(
    ("attributes", "shape", "message"),
    [
        ({"PE": 5}, (1, 64, 48), "PE=5 must divide 96 rows; try 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96"),
        ({"SIMD": 5}, (1, 64, 48), "SIMD=5 must divide 48 columns; try 1, 2, 3, 4, 6, 8, 12, 16, 24, 48"),
        ({"in_lanes": 5}, (1, 64, 48), "in_lanes=5 must divide 48 channels; try 1, 2, 3, 4, 6, 8, 12, 16, 24, 48"),
        ({"SIMD": 2, "in_lanes": 3}, (1, 64, 48), "in_lanes=3 and SIMD=2: one must divide the other; try in_lanes=1, 2, 4, 6, 8, 12, 16, 24, 48"),
        ({"PE": 4, "out_lanes": 6}, (1, 64, 48), "out_lanes=6 and PE=4: one must divide the other; try out_lanes=1, 2, 4, 8, 12, 16, 24, 32, 48, 96"),
        ({"PE": 2, "fabric": 3}, (1, 64, 48), "fabric=3 of 2 products; try 0 to 2"),
        ({"fabric": 1, "packed": 1}, (1, 64, 48), "packed=1 with fabric=1; packed is 0 or 1, and 0 where products are made of LUTs"),
        ({"PE": 0}, (1, 64, 48), "PE=0 must divide 96 rows; try 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96"),
        ({}, (1, 64, 40), "weight 'w' is int8[96, 48], must be int8[96, 40]"),
        ({}, (1, 48), "input 'x' has rank 2, not 3"),
        ({}, (1, 0, 48), "'x' is ['N', 0, 48]; only the batch may be unknown"),
    ],
)
def test_hardware_node_cannot_be_built_wrong(attributes, shape, message):
    with pytest.raises(FoldingError) as error:
        hardware_node(node(**attributes), constants(96, 48), {"x": shape})
    assert str(error.value) == f"MatVec matvec_3: {message}"


def test_hardware_node_names_a_missing_constant_a_bad_shift_and_an_overflow():
    shapes = {"x": (1, 4, 4)}
    with pytest.raises(FoldingError, match="MatVec matvec_3: weight 'w' must be an initializer"):
        hardware_node(node(), {}, shapes)
    with pytest.raises(FoldingError, match=r"MatVec matvec_3: shifts are 0\.\.40, must be in 0\.\.31"):
        hardware_node(node(), constants(2, 4) | {"s": np.array([0, 40], np.int32)}, shapes)
    with pytest.raises(FoldingError, match=r"accumulator reaches .* beyond int32"):
        hardware_node(node(), constants(2, 4, bias=2**31 - 1), shapes)


def test_uint8_activations_are_refused():
    with pytest.raises(OpError, match="MatVec matvec_3: x 'x' is UINT8, must be INT8"):
        check_node(node(), {"x": TensorProto.UINT8})
