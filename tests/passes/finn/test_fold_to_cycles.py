"""PE and SIMD by FINN's cycles."""

import math

import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp

from passes.finn.finn_layout import FinnLayout
from passes.finn.fold_to_cycles import FoldToCycles
from passes.finn.mat_vec_to_mvau import MatVecToMVAU
from passes.finn.table_to_psa_lut import TableToPSALUT
from passes.finn.token_mix_to_psa_token_mix import TokenMixToPSATokenMix
from passes.graph import PassRefusal
from tests.passes.finn.graphs import annotated
from tests.passes.graphs import apply

PART = "xczu7ev-ffvc1156-2-e"
ONES = ", ".join(["1"] * 72)


def network() -> ModelWrapper:
    """A table, a mixer of 6 tokens, a layer of 12 to 6 channels, as FINN's HLS and RTL nodes."""
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    table = ", ".join(str(i % 256 - 128) for i in range(12 * 256))
    text = f"""g (int8[N,6,12] x) => (int32[N,6,6] y)
        <int8[12,256] t = {{{table}}}, int8[6,6] m = {{{", ".join(["1"] * 36)}}}, int32[6] mb = {{0,0,0,0,0,0}}, int32[6] ms = {{1,1,1,1,1,1}},
         int8[6,12] w = {{{ONES}}}, int32[6] b = {{0,0,0,0,0,0}}>
        {{ a = psaflow.hw.ChannelLUT <lowest = -128> (x, t)
           c = psaflow.hw.TokenMix (a, m, mb, ms)
           y = psaflow.hw.MatVec (c, w, b) }}"""
    model = apply(annotated(text), TableToPSALUT(), TokenMixToPSATokenMix(), MatVecToMVAU(), FinnLayout())
    return ModelWrapper(model).transform(SpecializeLayers(PART)).transform(GiveUniqueNodeNames())


def foldings(model: ModelWrapper) -> dict[str, tuple]:
    """(PE, SIMD or None, cycles) by op type."""
    found = {}
    for node in model.graph.node:
        op = getCustomOp(node)
        simd = op.get_nodeattr("SIMD") if "SIMD" in op.get_nodeattr_types() else None
        found[node.op_type] = (op.get_nodeattr("PE"), simd, op.get_exp_cycles())
    return found


@pytest.mark.parametrize(("target", "expected"), [
    (1000, {"PSALUT_rtl": (1, None, 72), "PSATokenMix_rtl": (1, 1, 432), "MVAU_rtl": (1, 1, 432), "ElementwiseAdd_hls": (1, None, 36)}),
    (72, {"PSALUT_rtl": (1, None, 72), "PSATokenMix_rtl": (2, 3, 72), "MVAU_rtl": (3, 2, 72), "ElementwiseAdd_hls": (1, None, 36)}),
    (9, {"PSALUT_rtl": (12, None, 6), "PSATokenMix_rtl": (12, 6, 6), "MVAU_rtl": (6, 12, 6), "ElementwiseAdd_hls": (6, None, 6)}),
])  # fmt: skip
def test_the_fewest_products_that_reach_the_target(finn, target: int, expected: dict[str, tuple]) -> None:
    found = foldings(network().transform(FoldToCycles(target, PART), cleanup=False))
    assert found.keys() == expected.keys()
    for op, (_, _, cycles) in expected.items():
        assert found[op][2] == cycles, op
        assert math.prod(f or 1 for f in found[op][:2]) == math.prod(f or 1 for f in expected[op][:2]), op


def test_among_equal_products_finns_packing_of_rows_into_dsps_decides(finn) -> None:
    model = network().transform(FoldToCycles(36, PART), cleanup=False)
    unit = getCustomOp(next(n for n in model.graph.node if n.op_type == "MVAU_rtl"))
    assert unit.get_nodeattr("PE") * unit.get_nodeattr("SIMD") == 12
    products = [(pe, 12 // pe) for pe in (1, 2, 3, 6) if 12 % (12 // pe) == 0]
    assert unit.dsp_estimation(PART) == min(math.ceil(pe / 4) * simd for pe, simd in products)


def test_streams_join_where_they_can(finn) -> None:
    model = network().transform(FoldToCycles(24, PART), cleanup=False)
    for node in model.graph.node:
        above = model.find_producer(node.input[0])
        if above is not None:
            given, wanted = getCustomOp(above).get_folded_output_shape()[-1], getCustomOp(node).get_folded_input_shape()[-1]
            assert given % wanted == 0 or wanted % given == 0, node.op_type


def test_a_folding_that_a_module_does_not_have_is_passed_over(finn) -> None:
    from onnx import TensorProto, helper
    from qonnx.util.basic import qonnx_make_model

    node = helper.make_node("PSALUT_rtl", ["x", "t"], ["y"], domain="finn.custom_op.fpgadataflow.rtl", backend="fpgadataflow", NumChannels=192,
                            inputDataType="INT8", numInputVectors=[1, 6, 1])  # fmt: skip
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6, 1, 192]) for name in "xy"]
    model = ModelWrapper(qonnx_make_model(helper.make_graph([node], "g", values[:1], values[1:])))
    folded = model.transform(FoldToCycles(12, PART), cleanup=False)
    assert foldings(folded)["PSALUT_rtl"] == (96, None, 12)
    with pytest.raises(PassRefusal, match="reaches 6 cycles"):
        model.transform(FoldToCycles(6, PART), cleanup=False)


def test_it_refuses_a_target_that_no_folding_reaches(finn) -> None:
    with pytest.raises(PassRefusal, match="no folding of its PSALUT_rtl reaches 5 cycles per image; raise the target"):
        network().transform(FoldToCycles(5, PART), cleanup=False)
