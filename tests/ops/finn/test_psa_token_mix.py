"""PSATokenMix: its values against a plain sum, and what it answers FINN."""

import numpy as np
import pytest

from custom_ops import OpError
from tests.ops.finn.nodes import PART, finn_op


def mixer(finn, **attributes):
    defaults = {"NumChannels": 96, "inputDataType": "INT8", "numInputVectors": [1, 64, 1], "MW": 64, "MH": 64, "accBits": 20, "biasBits": 14,
                "shiftBits": 3}  # fmt: skip
    return finn_op("PSATokenMix", constants=3, **defaults | attributes)


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_values_are_those_of_a_plain_sum(finn, rounding: str) -> None:
    rng = np.random.default_rng(0)
    weight, bias, shift = rng.integers(-128, 128, (3, 4)), rng.integers(-2000, 2000, 3), np.array([0, 5, 9])
    x = rng.integers(-128, 128, (4, 5))
    op = mixer(finn, NumChannels=5, MW=4, MH=3, numInputVectors=[1, 4, 1], rounding=rounding, lo=-128, hi=100)
    context = {"x": x.astype(np.float32).reshape(1, 4, 1, 5), "c0": weight.astype(np.int8), "c1": bias, "c2": shift}
    op.execute_node(context, None)
    exact = (weight @ x + bias[:, None]) / 2.0 ** shift[:, None]  # at most 19 bits over 9: exact
    rounded = np.rint(exact) if rounding == "HALF_EVEN" else np.floor(exact + 0.5)
    assert context["y"].shape == (1, 3, 1, 5)
    np.testing.assert_array_equal(context["y"].reshape(3, 5), np.clip(rounded, -128, 100))


def test_streams_keep_their_order_and_change_their_tokens(finn) -> None:
    op = mixer(finn, MH=32, PE=4, SIMD=8)
    assert (op.get_normal_input_shape(), op.get_normal_output_shape()) == ((1, 64, 1, 96), (1, 32, 1, 96))
    assert (op.get_folded_input_shape(), op.get_folded_output_shape()) == ((1, 64, 1, 24, 4), (1, 32, 1, 24, 4))
    assert (op.get_instream_width(0), op.get_outstream_width()) == (32, 32)
    assert op.get_number_output_values() == 32 * 24


@pytest.mark.parametrize(("pe", "simd", "cycles"), [(1, 1, 393216), (1, 8, 49152), (4, 2, 49152), (1, 64, 6144), (96, 64, 64)])
def test_cycles_are_those_of_the_unit_and_at_least_those_of_its_input(finn, pe: int, simd: int, cycles: int) -> None:
    assert mixer(finn, PE=pe, SIMD=simd).get_exp_cycles() == cycles
    assert mixer(finn, MH=1, SIMD=64).get_exp_cycles() == 6144


def test_resources_are_one_product_a_dsp_and_two_images_in_banks(finn) -> None:
    found = mixer(finn, PE=1, SIMD=8).node_res_estimation(PART)
    assert (found["DSP"], found["BRAM_18K"]) == (8, 8 + 2)  # a bank holds 1536 bytes; 512 words of 64 bits
    assert found["LUT"] > mixer(finn, PE=1, SIMD=4).node_res_estimation(PART)["LUT"]
    assert mixer(finn).get_op_and_param_counts() == {"op_mac_8bx8b": 64 * 64 * 96, "param_weight_8b": 4096}


@pytest.mark.parametrize(("attributes", "words"), [
    ({"SIMD": 3}, "SIMD=3 must divide 64 tokens"), ({"PE": 7}, "PE=7 must divide 96 channels"),
    ({"inputDataType": "UINT8"}, "its input is UINT8; it multiplies INT8"),
])  # fmt: skip
def test_it_refuses(finn, attributes: dict, words: str) -> None:
    op = mixer(finn, **attributes)
    with pytest.raises(OpError, match=words):
        op.verify_node()
        op.get_exp_cycles()
