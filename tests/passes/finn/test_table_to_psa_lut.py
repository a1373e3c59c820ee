"""ChannelLUT -> PSALUT."""

import numpy as np
import pytest

from custom_ops.channel_lut import channel_lut
from passes.finn.table_to_psa_lut import TableToPSALUT
from passes.infer_channel_lut import InferChannelLUT
from tests.passes.finn.graphs import annotated, assert_equal_in_finn, datatypes
from tests.passes.graphs import apply, assert_untouched, attributes, constant, node, refusal

TABLE = np.random.default_rng(0).integers(-128, 128, (3, 256)).astype(np.int8)


def table(kind: str = "int8", lowest: int = -128, *, width: str = "256", values: np.ndarray = TABLE, shape: str = "N,4,3") -> str:
    listed = ", ".join(map(str, values.ravel()))
    return f"""g ({kind}[{shape}] x) => (int8[{shape}] y) <int8[3,{width}] t = {{{listed}}}>
        {{ y = psaflow.hw.ChannelLUT <lowest = {lowest}> (x, t) }}"""


def test_a_table_becomes_a_psalut() -> None:
    after = apply(annotated(table()), TableToPSALUT())
    lut = node(after, "PSALUT")
    assert attributes(lut) == {"backend": "fpgadataflow", "NumChannels": 3, "PE": 1, "inputDataType": "INT8", "numInputVectors": [1, 4, 1]}
    assert (lut.domain, datatypes(after)[lut.input[1]]) == ("finn.custom_op.fpgadataflow", "INT8")
    np.testing.assert_array_equal(constant(after, lut.input[1]), TABLE)


@pytest.mark.parametrize(("kind", "lowest", "shape"), [("int8", -128, "N,256,3"), ("uint8", 0, "N,256,3"), ("uint8", 0, "N,16,16,3")])
def test_every_code_of_every_channel_is_equal_in_finn(finn, kind: str, lowest: int, shape: str) -> None:
    codes = np.repeat(np.arange(lowest, lowest + 256)[:, None], 3, 1).astype(kind)
    x = codes.reshape(1, *map(int, shape.split(",")[1:]))
    assert_equal_in_finn(annotated(table(kind, lowest, shape=shape)), TableToPSALUT(), x=x)


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_knots_become_full_tables(rounding: str) -> None:
    knots = TABLE[:, ::8]
    knots = np.concatenate([knots, knots[:, -1:]], 1)
    text = table(width="33", values=knots).replace("psaflow.hw.", "psaflow.").replace("<lowest", f'<rounding = "{rounding}", lowest')
    after = apply(annotated(text), InferChannelLUT(), TableToPSALUT())
    codes = np.repeat(np.arange(-128, 128)[:, None], 3, 1).astype(np.int8)
    np.testing.assert_array_equal(constant(after, node(after, "PSALUT").input[1]), channel_lut(codes, knots, rounding).T)


def test_tables_of_another_domain_are_left_alone() -> None:
    assert_untouched(annotated(table().replace("psaflow.hw.", "psaflow.")), TableToPSALUT())


def test_it_refuses_codes_that_the_hardware_has_no_tables_for() -> None:
    model = annotated(table())
    for annotation in model.graph.quantization_annotation:
        if annotation.tensor_name == "x":
            annotation.quant_parameter_tensor_names[0].value = "INT4"
    assert "from code -128 on for INT4" in refusal(model, TableToPSALUT())
