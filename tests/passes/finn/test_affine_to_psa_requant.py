"""ChannelRequant -> PSARequant."""

import pytest

from passes.finn.affine_to_psa_requant import AffineToPSARequant
from tests.passes.finn.graphs import annotated, assert_equal_in_finn
from tests.passes.graphs import apply, assert_untouched, attributes, every_code, node, refusal


def affine(mult: str = "{3, -7, 127}", bias: str = "{-700, 12, 33}", shift: str = "{5, 1, 7}", options: str = "", inputs: str = "") -> str:
    constants = f"int32[3] b = {bias}, int32[3] s = {shift}" + (f", int32[3] m = {mult}" if mult else "")
    return f"""g (int8[N,2,3] x{inputs}) => (int8[N,2,3] y) <{constants}>
        {{ [affine] y = psaflow.hw.ChannelRequant {options} (x, m, b, s) }}"""


def test_an_affine_becomes_a_psarequant_with_the_widths_of_its_parameters() -> None:
    after = apply(annotated(affine(options='<rounding = "HALF_UP", lo = 0, hi = 99>')), AffineToPSARequant())
    assert attributes(node(after, "PSARequant")) == {
        "backend": "fpgadataflow", "NumChannels": 3, "PE": 1, "numInputVectors": [1, 2, 1], "inputDataType": "INT8", "rounding": "HALF_UP",
        "lo": 0, "hi": 99, "multBits": 8, "biasBits": 11, "shiftBits": 3,
    }  # fmt: skip


def test_a_multiplier_of_one_is_none() -> None:
    after = apply(annotated(affine(mult="{1, 1, 1}")), AffineToPSARequant())
    assert attributes(node(after, "PSARequant"))["multBits"] == 0


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_every_code_is_equal_in_finn(finn, rounding: str) -> None:
    text = affine(options=f'<rounding = "{rounding}", lo = -100, hi = 99>')
    assert_equal_in_finn(annotated(text), AffineToPSARequant(), x=every_code(2, 3))


def test_affines_of_another_domain_are_left_alone() -> None:
    assert_untouched(annotated(affine().replace("psaflow.hw.ChannelRequant", "psaflow.Requant")), AffineToPSARequant())


def test_it_refuses_a_computed_multiplier() -> None:
    assert "affine: its parameters are no constants" in refusal(annotated(affine(mult="", inputs=", int32[3] m")), AffineToPSARequant())
