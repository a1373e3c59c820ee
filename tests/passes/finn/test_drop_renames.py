"""A Squeeze at the graph's output goes."""

import numpy as np
from onnx import TensorProto

from passes.finn.drop_renames import DropRenames
from tests.passes.finn.graphs import annotated, datatypes
from tests.passes.graphs import apply, assert_untouched, run

TABLE = "int8[3,256] t = {" + ", ".join(str((7 * i) % 256 - 128) for i in range(768)) + "}"


def graph(tail: str = "y = Squeeze (z, axis)", output: str = "int8[N,3] y") -> str:
    return f"""g (int8[N,1,3] x) => ({output}) <int64[1] axis = {{1}}, {TABLE}>
        {{ z = psaflow.hw.ChannelLUT <lowest = -128> (x, t)
           {tail} }}"""


def test_the_stream_itself_becomes_the_output() -> None:
    before = annotated(graph())
    after = apply(before, DropRenames())
    assert [n.op_type for n in after.graph.node] == ["ChannelLUT"]
    (output,) = after.graph.output
    assert output.name == "y"
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [0, 1, 3]
    assert (output.type.tensor_type.elem_type, datatypes(after)["y"]) == (TensorProto.INT8, "INT8")
    x = np.random.default_rng(0).integers(-128, 128, (5, 1, 3)).astype(np.int8)
    np.testing.assert_array_equal(run(after, x=x)[0].ravel(), run(before, x=x)[0].ravel())


def test_a_stream_with_another_reader_is_left_alone() -> None:
    assert_untouched(annotated(graph("y = Squeeze (z, axis)\n r = Neg (z)", "int8[N,3] y, int8[N,1,3] r")), DropRenames())


def test_a_rename_inside_the_graph_is_left_alone() -> None:
    assert_untouched(annotated(graph("v = Squeeze (z, axis)\n y = Neg (v)")), DropRenames())
