"""The view of a graph that all passes share."""

import numpy as np
import pytest
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph, PassRefusal, Rewrite, attribute, get_metadata, log2_exact, reads, set_metadata
from tests.passes.graphs import apply, assert_same, listing, parse

TEXT = """
    g (float[N,2] x) => (float[N,2] y) <float[2] b = {1, 2}, float[2] unused = {3, 4}>
    { c = Constant <value = float[2] {5, 6}> ()
      s = Add (x, b)
      t = Relu (s)
      u = Mul (s, c)
      y = Add (t, u) }"""


@pytest.fixture
def graph() -> Graph:
    return Graph(ModelWrapper(parse(TEXT)))


def test_lookups(graph: Graph) -> None:
    assert graph.producer("t").op_type == "Relu"
    assert graph.producer("t", "Add") is None
    assert graph.producer("x") is None
    assert [n.output[0] for n in graph.consumers("s")] == ["t", "u"]
    assert graph.only_consumer("s") is None
    assert graph.only_consumer("t", "Add").output[0] == "y"
    assert graph.only_consumer("t", "Mul") is None
    assert graph.only_consumer("y") is None
    assert graph.used_once("t") and not graph.used_once("s") and not graph.used_once("y")
    assert graph.constant("b").tolist() == [1, 2]
    assert graph.constant("c").tolist() == [5, 6]
    assert graph.constant("s") is None
    assert graph.shape("s") == [0, 2]
    assert graph.shape("b") == [2]
    assert (graph.element_type("x"), graph.element_type("nowhere")) == (1, 0)
    with pytest.raises(PassRefusal, match="nowhere: its shape is unknown"):
        graph.shape("nowhere")


def test_new_names_are_new(graph: Graph) -> None:
    assert [graph.new_name(n) for n in ("fresh", "x", "b", "t")] == ["fresh", "x_1", "b_1", "t_1"]
    assert graph.add_constant("b", np.zeros(3)) == "b_1"
    assert graph.add_constant("b", np.zeros(3)) == "b_2"


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_a_new_constant_keeps_its_shape_and_type(graph: Graph, shape: tuple[int, ...]) -> None:
    value = np.arange(np.prod(shape, dtype=int), dtype=np.int8).reshape(shape)
    stored = graph.constant(graph.add_constant("k", value))
    assert (stored.shape, stored.dtype) == (shape, np.int8)
    assert (stored == value).all()
    turned = graph.constant(graph.add_constant("k", value.T))
    assert (turned == value.T).all()


def test_replacing_keeps_what_others_read(graph: Graph) -> None:
    add, relu = graph.producer("s"), graph.producer("t")
    graph.replace([add, relu], [helper.make_node("Abs", ["x"], ["t"])])
    graph.drop_unused()
    assert_same(
        graph.model.model,
        """
        g (float[N,2] x) => (float[N,2] y) <float[2] b = {1, 2}>
        { c = Constant <value = float[2] {5, 6}> ()
          t = Abs (x)
          s = Add (x, b)
          u = Mul (s, c)
          y = Add (t, u) }""",
    )


def test_replacing_the_last_reader_lets_the_rest_go(graph: Graph) -> None:
    nodes = [graph.producer(t) for t in ("s", "t", "u", "y")]
    graph.replace(nodes, [helper.make_node("Abs", ["x"], ["y"])])
    graph.drop_unused()
    assert_same(graph.model.model, "g (float[N,2] x) => (float[N,2] y) { y = Abs (x) }")
    assert not graph.proto.initializer


SUBGRAPH = """
    g (float[N,2] x, bool k) => (float[N,2] y) <float[2] b = {1, 2}>
    { s = Add (x, b)
      y = If (k) <then_branch = once () => (p) { p = Relu (s) }, else_branch = twice () => (q) { r = Add (s, b) q = Abs (r) }> }"""


def test_what_a_subgraph_takes_from_outside_is_read() -> None:
    graph = Graph(ModelWrapper(parse(SUBGRAPH)))
    branch = graph.producer("y")
    assert sorted(reads(branch)) == ["b", "k", "s", "s"]
    assert graph.consumers("s") == [branch]
    assert len(graph.consumers("b")) == 2
    graph.drop_unused()
    assert [n.op_type for n in graph.proto.node] == ["Add", "If"]
    graph.rewire("s", "x")
    graph.drop_unused()
    assert sorted(reads(graph.proto.node[0])) == ["b", "k", "x", "x"]


def test_an_initializer_that_an_input_may_replace_is_no_constant() -> None:
    model = parse(TEXT)
    model.graph.input.append(helper.make_tensor_value_info("b", 1, [2]))
    assert Graph(ModelWrapper(model)).constant("b") is None
    model.ir_version = 3  # in which every initializer is listed among the inputs
    assert Graph(ModelWrapper(model)).constant("b").tolist() == [1, 2]


def test_an_op_of_another_domain_is_none_of_the_same_name(graph: Graph) -> None:
    graph.producer("t").domain = "acme"
    assert graph.producer("t", "Relu") is None
    assert graph.producer("t").op_type == "Relu"
    graph.producer("u").domain = "acme"
    assert graph.only_consumer("c", "Mul") is None


def test_dims_tell_a_known_size_from_a_name_and_from_none() -> None:
    graph = Graph(ModelWrapper(parse("g (float[N,2,?] x) => (float[N,2,?] y) { y = Neg (x) }")))
    assert graph.dims("x") == ["N", 2, ""]
    assert graph.dims("nowhere") is None


def test_metadata_is_written_once() -> None:
    model = parse(TEXT)
    assert get_metadata(model, "key") is None
    set_metadata(model, "key", "1")
    set_metadata(model, "key", "2")
    assert get_metadata(model, "key") == "2"
    assert len(model.metadata_props) == 1


def test_attributes_have_defaults_and_strings_are_text() -> None:
    node = helper.make_node("Op", [], ["y"], mode="up", axis=2)
    assert (attribute(node, "mode"), attribute(node, "axis"), attribute(node, "none"), attribute(node, "none", 7)) == ("up", 2, None, 7)


@pytest.mark.parametrize("exponent", [-126, -15, -1, 0, 1, 20])
def test_exponents_of_powers_of_two(exponent: int) -> None:
    assert log2_exact(np.float32(2.0**exponent), "s") == exponent
    assert log2_exact(np.array([2.0**exponent, 4.0]), "s").tolist() == [exponent, 2]


@pytest.mark.parametrize("value", [0.3, 3.0, 0.0, -2.0, float("inf"), float("nan"), float(np.nextafter(np.float32(1), np.float32(2)))])
def test_other_scales_are_refused_by_name_and_value(value: float) -> None:
    with pytest.raises(PassRefusal) as refusal:
        log2_exact(np.array([1.0, value, 2.0]), "fc1: weight scale")
    assert str(refusal.value) == f"fc1: weight scale: {value!r} is no power of two; train with power-of-two scales"


def test_a_rewrite_is_repeated_until_nothing_changes_and_clears_up() -> None:
    class DropRelu(Rewrite):
        """Relu(x) -> x, one at a time."""

        def rewrite(self, graph: Graph, node) -> bool:
            if node.op_type != "Relu":
                return False
            graph.rewire(node.output[0], node.input[0])
            return True

    after = apply(
        parse("""
        g (float[N,2] x) => (float[N,2] y) <float[2] unused = {3, 4}>
        { a = Relu (x)
          b = Relu (a)
          y = Neg (b) }"""),
        DropRelu(),
    )
    assert listing(after) == listing(parse("g (float[N,2] x) => (float[N,2] y) { y = Neg (x) }"))
    assert not after.graph.initializer
