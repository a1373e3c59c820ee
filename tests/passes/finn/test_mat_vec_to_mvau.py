"""MatVec -> MVAU and PSARequant, or MVAU and ElementwiseAdd."""

import numpy as np
import pytest

from passes.finn.mat_vec_to_mvau import MatVecToMVAU
from tests.passes.finn.graphs import annotated, assert_equal_in_finn, datatypes, execute
from tests.passes.graphs import apply, assert_untouched, attributes, constant, node, refusal, run

WEIGHT = np.random.default_rng(0).integers(-128, 128, (4, 6)).astype(np.int8)


def layer(*, weight: np.ndarray = WEIGHT, bias: str = "{-700, 12, 33, 0}", shift: str = "{8, 3, 9, 0}", options: str = "", inputs: str = "") -> str:
    rows, columns = weight.shape
    constants = [f"int8[{rows},{columns}] w = {{{', '.join(map(str, weight.ravel()))}}}"]
    constants += [f"int32[{rows}] b = {bias}"] if bias else []
    constants += [f"int32[{rows}] s = {shift}"] if shift else []
    kind, tail = ("int8", ", s") if shift else ("int32", "")
    return f"""g (int8[N,5,{columns}] x{inputs}) => ({kind}[N,5,{rows}] y) <{", ".join(constants)}>
        {{ [fc] y = psaflow.hw.MatVec {options} (x, w, b{tail}) }}"""


def images() -> np.ndarray:
    x = np.random.default_rng(1).integers(-128, 128, (20, 5, 6)).astype(np.int8)
    x[0] = -128
    x[1] = 127
    x[2] = np.where(WEIGHT[:1] > 0, 127, -128)  # the ends of the accumulator's range
    x[3] = np.where(WEIGHT[:1] > 0, -128, 127)
    return x


def test_a_layer_becomes_finns_matrix_unit_and_a_requantization() -> None:
    after = apply(annotated(layer(options='<rounding = "HALF_UP", lo = 0>')), MatVecToMVAU())
    unit, requant = after.graph.node
    assert attributes(unit) == {
        "backend": "fpgadataflow", "MW": 6, "MH": 4, "SIMD": 1, "PE": 1, "noActivation": 1, "inputDataType": "INT8", "weightDataType": "INT8",
        "outputDataType": "INT18", "accDataType": "INT18", "numInputVectors": [1, 5, 1],
    }  # fmt: skip
    assert (unit.op_type, unit.domain, unit.name) == ("MVAU", "finn.custom_op.fpgadataflow", "fc_mvau")
    np.testing.assert_array_equal(constant(after, unit.input[1]), WEIGHT.T.astype(np.float32))
    assert constant(after, unit.input[1]).dtype == np.float32
    assert (requant.op_type, requant.name, requant.input[0]) == ("PSARequant", "fc", unit.output[0])
    found = attributes(requant)
    assert [found[k] for k in ("inputDataType", "rounding", "lo", "hi", "multBits", "biasBits", "shiftBits")] == [
        "INT18", "HALF_UP", 0, 127, 0, 11, 4,
    ]  # fmt: skip
    assert datatypes(after)[unit.output[0]] == "INT18"


def test_a_layer_without_requantization_adds_its_bias() -> None:
    after = apply(annotated(layer(shift="")), MatVecToMVAU())
    add = node(after, "ElementwiseAdd")
    found = attributes(add)
    assert [found[k] for k in ("lhs_dtype", "rhs_dtype", "out_dtype", "rhs_style")] == ["INT18", "INT11", "INT18", "const"]
    assert (found["lhs_shape"], found["rhs_shape"], found["out_shape"]) == ([1, 5, 1, 4], [4], [1, 5, 1, 4])


def test_a_small_accumulator_is_as_wide_as_finns_unit_needs() -> None:
    after = apply(annotated(layer(weight=np.array([[1, -1]], np.int8), bias="{0}", shift="{1}")), MatVecToMVAU())
    assert attributes(node(after, "MVAU"))["accDataType"] == "INT16"


@pytest.mark.parametrize("shift", ["{8, 3, 9, 0}", ""])
@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_values_are_equal_in_finn(finn, shift: str, rounding: str) -> None:
    before = annotated(layer(shift=shift, options=f'<rounding = "{rounding}", lo = -120, hi = 120>'))
    after = assert_equal_in_finn(before, MatVecToMVAU(), x=images())
    assert len(np.unique(run(before, x=images())[0])) > 50
    accumulated = execute(after, images()[2])[after.graph.node[0].output[0]]
    np.testing.assert_array_equal(accumulated.reshape(5, 4), images()[2].astype(int) @ WEIGHT.T.astype(int))


def test_layers_of_another_domain_are_left_alone() -> None:
    assert_untouched(annotated("g (int8[N,5,2] x) => (int32[N,5,1] y) <int8[2,1] w = {1, 2}> { y = MatMulInteger (x, w) }"), MatVecToMVAU())


REFUSALS = {
    "accumulator": (layer(weight=np.full((1, 1040), 127, np.int8), bias="{0}", shift="{9}"), "24 bits"),
    "accumulator with its bias": (layer(weight=np.full((1, 1024), 127, np.int8), bias="{300000}", shift=""), "24 bits"),
    "bias": (layer(bias="", inputs=", int32[4] b"), "no constants"),
    "shift": (layer(shift="").replace("x, w, b)", "x, w, b, s)").replace("int32[N", "int8[N").replace("] x)", "] x, int32[4] s)"), "no constants"),
}


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: str) -> None:
    message = refusal(annotated(text), MatVecToMVAU())
    assert words in message and "fc" in message
