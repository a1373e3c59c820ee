"""Quant -> QuantizeLinear and DequantizeLinear, or integers and DequantizeLinear."""

import numpy as np
import pytest

from passes.quant_to_qdq import QuantToQDQ
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_within_bounds, constant, node, parse, refusal, run

ACTIVATION = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'
WEIGHT = ACTIVATION.replace("narrow: int = 0", "narrow: int = 1")


def activation(*, op: str = ACTIVATION, scale: str = "float s = {0.5}", zero: str = "float z = {0}", bits: int = 8) -> str:
    return f"""
        g (float[N,2] x) => (float[N,2] y) <{scale}, {zero}, float n = {{{bits}}}>
        {{ [fc_quant] y = {op} (x, s, z, n) }}"""


def parameter(value: str, scale: str, *, op: str = WEIGHT, bits: int = 8) -> str:
    return f"""
        g (float[N,2,3] x) => (float[N,2,3] y) <{value}, {scale}, float z = {{0}}, float n = {{{bits}}}>
        {{ [fc_weight] w = {op} (v, s, z, n)
           y = Add (x, w) }}"""


@pytest.mark.parametrize("scale", [2.0**-9, 0.5, 4.0])
def test_an_activation_becomes_a_pair_around_its_integers(scale: float) -> None:
    before = parse(activation(scale=f"float s = {{{scale}}}"))
    after = apply(before, QuantToQDQ())
    assert_same(
        after,
        f"""
        g (float[N,2] x) => (float[N,2] y) <float s = {{{scale}}}, int8 z = {{0}}>
        {{ q = QuantizeLinear (x, s, z)
           y = DequantizeLinear (q, s, z) }}""",
    )
    assert node(after, "QuantizeLinear").output[0] == "fc"  # the integers get the name without `_quant`
    eighths = (np.arange(-1200, 1200, dtype=np.float32) / 8 * scale).reshape(-1, 2)  # codes, ties, and beyond both ends
    assert_equal_values(before, after, x=eighths)


def test_one_scale_in_a_vector_is_one_scale() -> None:
    after = apply(parse(activation(scale="float[1] s = {0.5}")), QuantToQDQ())
    assert constant(after, node(after, "QuantizeLinear").input[1]).shape == ()


VALUES = "float[2,3] v = {0.5, 1.5, -63.5, -64, 64, -100}"
CONSTANTS = {
    "one scale": (parameter(VALUES, "float s = {0.5}"), [[1, 3, -127], [-127, 127, -127]], None, np.int8),
    "not narrow": (parameter(VALUES, "float s = {0.5}", op=ACTIVATION), [[1, 3, -127], [-128, 127, -128]], None, np.int8),
    "per column": (parameter(VALUES, "float[1,3] s = {0.5, 1, 2}"), [[1, 2, -32], [-127, 64, -50]], 1, np.int8),
    "per row": (parameter(VALUES, "float[2,1] s = {0.5, 1}"), [[1, 3, -127], [-64, 64, -100]], 0, np.int8),
    "scales of lower rank": (parameter(VALUES, "float[3] s = {0.5, 1, 2}"), [[1, 2, -32], [-127, 64, -50]], 1, np.int8),
    "scales in rows of one": (parameter("float[3] v = {0.5, 1.5, -63.5}", "float[3] s = {0.5, 1, 2}"), [1, 2, -32], 0, np.int8),
    "24 bits": (parameter("float[3] v = {1e6, -1e9, 3}", "float s = {0.5}", bits=24), [2000000, -(2**23) + 1, 6], None, np.int32),
    "unsigned": (parameter("float[3] v = {1, -3, 200}", "float s = {0.5}", op=ACTIVATION.replace("signed: int = 1", "signed: int = 0")),
                 [2, 0, 255], None, np.int32),
    "4 bits": (parameter("float[3] v = {1, -9, 5}", "float s = {1}", bits=4), [1, -7, 5], None, np.int8),
}  # fmt: skip


@pytest.mark.parametrize(("text", "codes", "axis", "kind"), CONSTANTS.values(), ids=CONSTANTS)
def test_a_constant_becomes_its_integers(text: str, codes: list, axis: int | None, kind: type) -> None:
    before = parse(text)
    after = apply(before, QuantToQDQ())
    dequantize = node(after, "DequantizeLinear")
    stored = constant(after, dequantize.input[0])
    assert stored.dtype == kind
    assert stored.tolist() == codes
    assert [(a.name, a.i) for a in dequantize.attribute] == ([] if axis is None else [("axis", axis)])
    assert_equal_values(before, after, x=np.zeros((1, 2, 3), np.float32))


def test_every_8_bit_weight_and_every_tie_is_stored_as_it_is_computed() -> None:
    quarters = np.arange(-540, 540, dtype=np.float32) / 4  # codes -135..135 in quarters, at a scale of 1
    text = parameter(f"float[1080] v = {{{', '.join(map(str, quarters.tolist()))}}}", "float s = {1}")
    before = parse(text.replace("[N,2,3]", "[N,1080]"))
    after = apply(before, QuantToQDQ())
    zeros = np.zeros((1, 1080), np.float32)
    assert_equal_values(before, after, x=zeros)
    expected = np.clip(np.rint(quarters), -127, 127)
    assert (run(after, x=zeros)[0] == expected).all()


UNSIGNED = ACTIVATION.replace("signed: int = 1", "signed: int = 0")


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("op", "signed", "narrow"), [(ACTIVATION, 1, 0), (WEIGHT, 1, 1), (UNSIGNED, 0, 0), (UNSIGNED.replace("narrow: int = 0", "narrow: int = 1"), 0, 1)])
def test_every_width_sign_and_range_of_an_activation_gives_the_same_values(bits: int, op: str, signed: int, narrow: int) -> None:
    if bits == 1 and (signed or narrow):
        return  # bipolar, or a single code
    before = parse(activation(op=op, bits=bits))
    after = apply(before, QuantToQDQ())
    assert [n.op_type for n in after.graph.node][-1] == "DequantizeLinear"
    assert ("Clip" in [n.op_type for n in after.graph.node]) == ((bits, narrow) != (8, 0))
    assert_equal_values(before, after, x=(np.arange(-1200, 1200, dtype=np.float32) / 8).reshape(-1, 2))


@pytest.mark.parametrize("zero", [-128, -3, 2, 127])
def test_a_zero_point_is_kept_and_ties_are_explained(zero: int) -> None:
    before = parse(activation(zero=f"float z = {{{zero}}}"))
    after = apply(before, QuantToQDQ())
    assert constant(after, node(after, "QuantizeLinear").input[2]) == zero
    x = (np.arange(-1200, 1200, dtype=np.float32) / 8).reshape(-1, 2)
    assert_within_bounds(before, after, x)
    off_ties = x[(np.abs(x * 4) % 4 != 1).all(1) & (np.abs(x * 4) % 4 != 3).all(1)]
    assert_equal_values(before, after, x=off_ties)


REFUSALS = {
    "zero points": (activation(zero="float[2] z = {0, 3}"), ("fc_quant", "2 scales", "one scale per tensor")),
    "half a zero point": (activation(zero="float z = {0.5}"), ("fc_quant", "zero point 0.5", "integer")),
    "a zero point beyond the range": (activation(zero="float z = {200}"), ("fc_quant", "zero point 200", "-128..127")),
    "9 bits": (activation(bits=9), ("fc_quant", "-256..255", "up to 8 bits")),
    "no bits": (activation(bits=0), ("fc_quant", "bit width of [0.0]", "1..8")),
    "half a bit": (activation().replace("{8}", "{3.5}"), ("fc_quant", "bit width of [3.5]", "1..8")),
    "scales per channel": (activation(scale="float[2] s = {0.5, 1}"), ("fc_quant", "2 scales", "one scale per tensor")),
    "scale per element": (parameter(VALUES, "float[2,3] s = {1, 1, 2, 1, 1, 1}"), ("fc_weight", "[2, 3]", "one per tensor or per channel")),
    "computed scale": (activation(scale="float e = {1}").replace("(float[N,2] x)", "(float[N,2] x, float s)"),
                       ("fc_quant", "must be constants")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), QuantToQDQ())
    for word in words:
        assert word in message


def test_it_refuses_another_rounding() -> None:
    text = activation(op=ACTIVATION.replace("ROUND", "FLOOR"))
    message = refusal(parse(text, shapes=False), QuantToQDQ())
    for word in ("fc_quant", "FLOOR", "ROUND"):
        assert word in message
