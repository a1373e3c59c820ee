"""One image, float32 tensors that carry integers, four axes."""

from onnx import TensorProto

from passes.finn.finn_layout import FinnLayout
from passes.finn.fork_to_duplicate_streams import ForkToDuplicateStreams
from tests.passes.finn.graphs import annotated, datatypes
from tests.passes.graphs import apply, refusal

FORK = "g (int8[N,4,3] x) => (int8[N,4,3] a, int8[N,4,3] b) { a, b = psaflow.hw.Fork (x) }"


def test_streams_have_one_image_and_four_axes() -> None:
    after = apply(annotated(FORK), ForkToDuplicateStreams(), FinnLayout())
    for value in (*after.graph.input, *after.graph.output):
        kind = value.type.tensor_type
        assert (kind.elem_type, [d.dim_value for d in kind.shape.dim]) == (TensorProto.FLOAT, [1, 4, 1, 3])
    assert datatypes(after) == dict.fromkeys(("x", "a", "b"), "INT8")


def test_function_bodies_and_domains_of_ours_go_and_finns_domain_comes() -> None:
    before = annotated(FORK)
    assert [f.name for f in before.functions] == ["Fork"]
    after = apply(before, ForkToDuplicateStreams(), FinnLayout())
    assert not after.functions
    domains = {o.domain for o in after.opset_import}
    assert "finn.custom_op.fpgadataflow" in domains and not {"psaflow", "psaflow.hw"} & domains


def test_images_keep_their_axes() -> None:
    text = "g (uint8[N,6,5,3] x) => (uint8[N,6,5,3] a, uint8[N,6,5,3] b) { a, b = psaflow.hw.Fork (x) }"
    after = apply(annotated(text), ForkToDuplicateStreams(), FinnLayout())
    assert [d.dim_value for d in after.graph.input[0].type.tensor_type.shape.dim] == [1, 6, 5, 3]


def test_it_refuses_a_node_that_is_not_finns() -> None:
    assert "Fork a: has no form in FINN" in refusal(annotated(FORK), FinnLayout())


def test_it_refuses_a_stream_of_two_axes() -> None:
    text = "g (int8[N,3] x) => (int8[N,3] a, int8[N,3] b) { a, b = finn.custom_op.fpgadataflow.DuplicateStreams (x) }"
    from tests.passes.graphs import parse

    assert "[0, 3]" in refusal(parse(text, shapes=False), FinnLayout())
