"""PSARequant: its values against exact rationals, and what it answers FINN."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from custom_ops import OpError
from tests.ops.finn.nodes import PART, finn_op


def requant(finn, kind: str = "INT20", **attributes):
    defaults = {"NumChannels": 96, "inputDataType": kind, "numInputVectors": [1, 64, 1], "multBits": 0, "biasBits": 18, "shiftBits": 3}
    return finn_op("PSARequant", constants=3, **defaults | attributes)


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
@pytest.mark.parametrize("mult", [1, -3])
def test_values_are_those_of_exact_rationals(finn, rounding: str, mult: int) -> None:
    rng = np.random.default_rng(0)
    bias, shift = rng.integers(-(2**17), 2**17, 6), np.array([0, 1, 9, 10, 12, 31])
    x = np.concatenate([rng.integers(-(2**19), 2**19, (200, 6)), rng.integers(-40, 40, (100, 6)) * 256 - bias])
    op = requant(finn, NumChannels=6, numInputVectors=[1, 300, 1], rounding=rounding, lo=-100, hi=90)
    context = {"x": x.astype(np.float32).reshape(1, 300, 1, 6), "c0": np.full(6, mult), "c1": bias, "c2": shift}
    op.execute_node(context, None)
    for token, values in enumerate(context["y"].reshape(300, 6)):
        for channel, got in enumerate(values):
            v = Fraction(int(x[token, channel]) * mult + int(bias[channel]), 2 ** int(shift[channel]))
            assert got == min(max(round(v) if rounding == "HALF_EVEN" else floor(v + Fraction(1, 2)), -100), 90)


@pytest.mark.parametrize(("kind", "pe"), [("INT20", 1), ("INT17", 3), ("INT8", 96)])
def test_streams_and_cycles_follow_the_folding(finn, kind: str, pe: int) -> None:
    op, bits = requant(finn, kind, PE=pe), int(kind[3:])
    assert op.get_folded_input_shape() == op.get_folded_output_shape() == (1, 64, 1, 96 // pe, pe)
    assert (op.get_instream_width(0), op.get_outstream_width(0)) == (bits * pe, 8 * pe)
    assert [op.get_instream_width(i) for i in (1, 2, 3)] == [0, 0, 0]
    assert op.get_instream_width_padded() == -(-bits * pe // 8) * 8
    assert op.get_exp_cycles() == 6144 // pe


@pytest.mark.parametrize(("kind", "mult_bits", "slices"), [("INT20", 0, 0), ("INT8", 17, 1), ("INT8", 27, 1), ("INT8", 28, 2), ("INT20", 20, 2)])
def test_only_a_multiplier_takes_dsps(finn, kind: str, mult_bits: int, slices: int) -> None:
    assert requant(finn, kind, multBits=mult_bits, PE=4).node_res_estimation(PART)["DSP"] == 4 * slices


def test_many_words_of_parameters_go_to_block_memory(finn) -> None:
    small, large = requant(finn, NumChannels=128).node_res_estimation(PART), requant(finn, NumChannels=129).node_res_estimation(PART)
    assert (small["BRAM_18K"], large["BRAM_18K"]) == (0, 1)
    assert small["LUT"] - large["LUT"] == 2 * 21  # 128 words of 21 bits, 64 to a LUT


def test_the_input_type_is_taken_over_from_the_graph(finn) -> None:
    from onnx import TensorProto
    from onnx.helper import make_graph, make_tensor_value_info
    from qonnx.core.datatype import DataType
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.basic import qonnx_make_model

    op = requant(finn)
    values = [make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, 1, 96]) for name in "xy"]
    model = ModelWrapper(qonnx_make_model(make_graph([op.onnx_node], "g", values[:1], values[1:])))
    model.set_tensor_datatype("x", DataType["INT13"])
    op.infer_node_datatype(model)
    assert op.get_input_datatype().name == "INT13"
    assert model.get_tensor_datatype("y").name == "INT8"


@pytest.mark.parametrize(("attributes", "words"), [
    ({"inputDataType": "UINT8"}, "its input is UINT8; supported is INT2 to INT32"), ({"lo": 5, "hi": 4}, "lo=5, hi=4"),
    ({"PE": 7}, "PE=7 must divide 96 channels"),
])  # fmt: skip
def test_it_refuses(finn, attributes: dict, words: str) -> None:
    with pytest.raises(OpError, match=words):
        requant(finn, **attributes).verify_node()
