"""Shapes, datatypes, and the removal of what nothing uses."""

import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.annotate import AnnotateDatatypes, InferShapes, RemoveUnused
from tests.passes.graphs import apply, assert_same, assert_untouched, parse

QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'
MIXED = f"""
    g (uint8[N,4,3] pixels) => (int32[N,4,2] y)
    <int8[3,256] table = {{{", ".join(["0"] * 768)}}}, int8[3,2] w = {{1, 2, 3, 4, 5, 6}},
     float s = {{0.5}}, float z = {{0}}, float n = {{8}}>
    {{ t = psaflow.ChannelLUT <lowest = 0> (pixels, table)
       y = MatMulInteger (t, w)
       f = Cast <to = 1> (t)
       q = {QUANT} (f, s, z, n) }}"""


def shapes(model: onnx.ModelProto) -> dict[str, list]:
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}


def test_every_tensor_gets_its_shape_through_the_bodies() -> None:
    model = apply(parse(MIXED, shapes=False), InferShapes())
    assert shapes(model) == {"t": ["N", 4, 3], "f": ["N", 4, 3], "q": ["N", 4, 3]}
    assert {f.name for f in model.functions} == {"ChannelLUT", "Quant"}


def test_notes_about_tensors_that_are_gone_or_wrong_are_replaced() -> None:
    model = parse(MIXED, shapes=False)
    model.graph.value_info.add().name = "gone"
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("t", onnx.TensorProto.INT8, [1, 2]))
    assert shapes(apply(model, InferShapes())) == {"t": ["N", 4, 3], "f": ["N", 4, 3], "q": ["N", 4, 3]}


def test_integer_tensors_get_their_datatypes() -> None:
    model = apply(parse(MIXED), AnnotateDatatypes())
    wrapper = ModelWrapper(model)
    names = ("pixels", "t", "table", "w", "y", "q", "f", "s")
    assert {n: wrapper.get_tensor_datatype(n).name for n in names} == {
        "pixels": "UINT8", "t": "INT8", "table": "INT8", "w": "INT8", "y": "INT32", "q": "SCALEDINT<8>", "f": "FLOAT32", "s": "FLOAT32",
    }  # fmt: skip


def test_a_narrower_note_stays() -> None:
    model = parse(MIXED)
    wrapper = ModelWrapper(model)
    wrapper.set_tensor_datatype("y", onnx_datatype("INT19"))
    assert ModelWrapper(apply(wrapper.model, AnnotateDatatypes())).get_tensor_datatype("y").name == "INT19"


def onnx_datatype(name: str):
    from qonnx.core.datatype import DataType

    return DataType[name]


def test_what_nothing_uses_goes() -> None:
    before = parse("""
        g (float[N,2] x) => (float[N,2] y) <float[2] b = {1, 2}, float[2] c = {1, 2}, float[2] d = {1, 2}>
        { a = Add (x, c)
          e = Relu (a)
          y = Add (x, b) }""")
    wrapper = ModelWrapper(before)
    for tensor in ("a", "y"):
        wrapper.set_tensor_datatype(tensor, onnx_datatype("INT8"))
    after = apply(before, RemoveUnused())
    assert_same(
        after,
        """
        g (float[N,2] x) => (float[N,2] y) <float[2] b = {1, 2}>
        { y = Add (x, b) }""",
    )
    assert [i.name for i in after.graph.initializer] == ["b"]
    assert {v.name for v in after.graph.value_info} <= {"b"}
    assert [a.tensor_name for a in after.graph.quantization_annotation] == ["y"]


@pytest.mark.parametrize("output", ["a", "b"])
def test_a_node_with_one_used_output_stays(output: str) -> None:
    assert_untouched(parse(f"g (int8[N,2,2] x) => (int8[N,2,2] {output}) {{ a, b = psaflow.hw.Fork (x) }}"), RemoveUnused())
