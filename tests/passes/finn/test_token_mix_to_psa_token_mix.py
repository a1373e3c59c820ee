"""TokenMix -> PSATokenMix."""

import numpy as np
import pytest

from passes.finn.token_mix_to_psa_token_mix import TokenMixToPSATokenMix
from tests.passes.finn.graphs import annotated, assert_equal_in_finn
from tests.passes.graphs import apply, assert_untouched, attributes, node, refusal, run

WEIGHT = np.random.default_rng(0).integers(-128, 128, (4, 6)).astype(np.int8)


def mixer(*, bias: str = ", int32[4] b = {-700, 12, 33, 0}", options: str = "", inputs: str = "", op: str = "psaflow.hw.TokenMix") -> str:
    return f"""g (int8[N,6,3] x{inputs}) => (int8[N,4,3] y)
        <int8[4,6] w = {{{", ".join(map(str, WEIGHT.ravel()))}}}, int32[4] s = {{8, 3, 9, 0}}{bias}>
        {{ [mix] y = {op} {options} (x, w, b, s) }}"""


def test_a_mixer_keeps_the_order_of_its_tokens_and_needs_no_transpose() -> None:
    after = apply(annotated(mixer(options="<lo = -5>")), TokenMixToPSATokenMix())
    assert [n.op_type for n in after.graph.node] == ["PSATokenMix"]
    assert attributes(node(after, "PSATokenMix")) == {
        "backend": "fpgadataflow", "NumChannels": 3, "PE": 1, "SIMD": 1, "MW": 6, "MH": 4, "inputDataType": "INT8", "numInputVectors": [1, 6, 1],
        "accBits": 18, "biasBits": 11, "shiftBits": 4, "rounding": "HALF_EVEN", "lo": -5, "hi": 127,
    }  # fmt: skip


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_values_are_equal_in_finn(finn, rounding: str) -> None:
    x = np.random.default_rng(1).integers(-128, 128, (20, 6, 3)).astype(np.int8)
    x[0], x[1] = -128, 127
    before = annotated(mixer(options=f'<rounding = "{rounding}">'))
    assert_equal_in_finn(before, TokenMixToPSATokenMix(), x=x)
    assert len(np.unique(run(before, x=x)[0])) > 50


def test_other_nodes_are_left_alone() -> None:
    assert_untouched(annotated("g (int8[N,5,2] x) => (int32[N,5,1] y) <int8[2,1] w = {1, 2}> { y = MatMulInteger (x, w) }"),
                     TokenMixToPSATokenMix())  # fmt: skip


def test_it_refuses_a_computed_bias() -> None:
    assert "mix: its parameters are no constants" in refusal(annotated(mixer(bias="", inputs=", int32[4] b")), TokenMixToPSATokenMix())
