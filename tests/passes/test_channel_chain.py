"""Where a per-channel function of one integer tensor begins."""

import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.channel_chain import Chain, find_chain, foldable
from passes.graph import Graph
from tests.passes.graphs import node, parse


def chain_to(text: str, end: str = "y") -> Chain | None:
    model = parse(text)
    graph = Graph(ModelWrapper(model))
    last = graph.producer(end)
    assert last is not None
    return find_chain(graph, last)


def quantized(body: str, constants: str = "", shape: str = "N,2,3", more: str = "") -> str:
    return f"""g (int8[{shape}] q{more}) => (int8[{shape}] y)
        <float s = {{0.5}}, int8 z = {{0}}{", " if constants else ""}{constants}>
        {{ x = DequantizeLinear (q, s, z) {body} y = QuantizeLinear (f, s, z) }}"""


BATCH_NORM = "float[{0}] g = {{{1}}}, float[{0}] b = {{{1}}}, float[{0}] m = {{{1}}}, float[{0}] v = {{{1}}}"

# text -> (source, axis, op types)
FOUND = {
    "from the codes to the codes": (quantized("f = Relu (x)"), "q", 2, "DequantizeLinear Relu QuantizeLinear"),
    "over quantizers in between": (quantized("a = Relu (x) p = QuantizeLinear (a, s, z) b = DequantizeLinear (p, s, z) f = Tanh (b)"), "q", 2,
                                   "DequantizeLinear Relu QuantizeLinear DequantizeLinear Tanh QuantizeLinear"),
    "both ways of a sum with x itself": (quantized("a = Sigmoid (x) p = QuantizeLinear (a, s, z) b = DequantizeLinear (p, s, z) f = Add (x, b)"),
                                         "q", 2, "DequantizeLinear Sigmoid QuantizeLinear DequantizeLinear Add QuantizeLinear"),
    "from behind what mixes": (quantized("a = Softmax (x) p = QuantizeLinear (a, s, z) b = DequantizeLinear (p, s, z) f = Tanh (b)"), "p", 2,
                               "DequantizeLinear Tanh QuantizeLinear"),
    "scales per channel": ("g (int8[N,3] q) => (int8[N,3] y) <float[3] s = {1, 2, 4}, int8[3] z = {0, 1, 2}>"
                           " { x = DequantizeLinear (q, s, z) y = QuantizeLinear (x, s, z) }", "q", 1, "DequantizeLinear QuantizeLinear"),
    "BatchNormalization of [N, C]": (quantized("f = BatchNormalization (x, g, b, m, v)", BATCH_NORM.format(3, "1, 2, 3"), "N,3"), "q", 1,
                                     "DequantizeLinear BatchNormalization QuantizeLinear"),
    "BatchNormalization of [N, C, T]": (quantized("f = BatchNormalization (x, g, b, m, v)", BATCH_NORM.format(2, "1, 2")), "q", 1,
                                        "DequantizeLinear BatchNormalization QuantizeLinear"),
    "BatchNormalization between transposes": (
        quantized("t = Transpose <perm = [0, 2, 1]> (x) n = BatchNormalization (t, g, b, m, v) f = Transpose <perm = [0, 2, 1]> (n)",
                  BATCH_NORM.format(3, "1, 2, 3")), "q", 2, "DequantizeLinear Transpose BatchNormalization Transpose QuantizeLinear"),
    "constants of constants": (quantized("o = Exp (c) f = Add (x, o)", "float[3] c = {1, 2, 3}"), "q", 2,
                               "DequantizeLinear Exp Add QuantizeLinear"),
    "an int8 clip": ("g (int8[N,3] q) => (int8[N,3] y) <int8 a = {-8}, int8 b = {7}> { y = Clip (q, a, b) }", "q", 1, "Clip"),
    "int8 through int32": ("g (int8[N,3] q) => (int8[N,3] y) <int32 m = {3}, int32 b = {0}, int32 s = {2}>"
                           " { a = Cast <to = 6> (q) c = Mul (a, m) y = psaflow.Requant (c, m, b, s) }", "q", 1, "Cast Mul Requant"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "source", "axis", "ops"), FOUND.values(), ids=FOUND)
def test_the_longest_chain_is_found(text: str, source: str, axis: int, ops: str) -> None:
    chain = chain_to(text)
    assert chain is not None
    assert (chain.source, chain.axis, chain.unsigned) == (source, axis, False)
    assert [n.op_type for n in chain.nodes] == ops.split()


ABSENT = {
    "a neighbour": quantized("f = Softmax (x)"),
    "a sum along channels": quantized("m = ReduceMean <keepdims = 1> (x, a) f = Sub (x, m)", "int64[1] a = {2}"),
    "a running sum": quantized("f = CumSum (x, a)", "int64 a = {1}"),
    "a layer norm": quantized("f = LayerNormalization <axis = -1> (x, g)", "float[3] g = {1, 2, 3}"),
    "chance": quantized("r = RandomNormalLike (x) f = Add (x, r)"),
    "chance without an input": quantized("r = RandomNormal <shape = [3]> () f = Add (x, r)"),
    "a parameter for each element": quantized("f = Add (x, b)", "float[2,3] b = {1, 2, 3, 4, 5, 6}"),
    "parameters along two axes": quantized("a = Add (x, b) f = Mul (a, c)", "float[2,1] b = {1, 2}, float[3] c = {1, 2, 3}"),
    "a parameter along the batch": quantized("f = Add (x, b)", "float[2,1,1] b = {1, 2}", "2,2,3"),
    "a Transpose that stays": quantized("f = Transpose <perm = [0, 2, 1]> (x)", shape="N,3,3"),
    "x and x transposed": quantized("t = Transpose <perm = [0, 2, 1]> (x) f = Add (x, t)", shape="N,3,3"),
    "another input": quantized("e = DequantizeLinear (p, s, z) f = Add (x, e)", more=", int8[N,2,3] p"),
    "a computed parameter": quantized("f = Mul (x, k)", more=", float[3] k"),
    "BatchNormalization in training": quantized("f, rm, rv = BatchNormalization <training_mode = 1> (x, g, b, m, v)",
                                                BATCH_NORM.format(3, "1, 2, 3"), "N,3"),
    "BatchNormalization along another axis than the scales": (
        "g (int8[N,3,3] q) => (int8[N,3,3] y) <float[3] s = {1, 2, 4}, int8[3] z = {0, 1, 2}, " + BATCH_NORM.format(3, "1, 2, 3") +
        "> { x = DequantizeLinear <axis = 2> (q, s, z) f = BatchNormalization (x, g, b, m, v) y = QuantizeLinear <axis = 2> (f, s, z) }"),
    "a Requant along tokens and one along channels": (
        "g (int8[N,3,3] q) => (int8[N,3,3] y) <int32[3] m = {1, 2, 3}, int32 b = {0}, int32 s = {2}>"
        " { a = psaflow.Requant <axis = -2> (q, m, b, s) y = psaflow.Requant (a, m, b, s) }"),
    "constants alone": "g (int8[N,3] q) => (int8[3] y, int8[N,3] k) <float[3] c = {1, 2, 3}, float s = {0.5}, int8 z = {0}>"
                       " { k = Identity (q) p = QuantizeLinear (c, s, z) x = DequantizeLinear (p, s, z) y = QuantizeLinear (x, s, z) }",
}  # fmt: skip


@pytest.mark.parametrize("text", ABSENT.values(), ids=ABSENT)
def test_what_is_no_function_of_one_code_and_its_channel_has_no_chain_to_its_input(text: str) -> None:
    chain = chain_to(text)
    assert chain is None or chain.source not in ("q", "p")


def test_an_op_of_ours_counts_only_with_constant_parameters() -> None:
    model = parse("g (float[N,3] x, float[3,5] t) => (float[N,3] y) { y = psaflow.GridLerp (x, t) }")
    graph = Graph(ModelWrapper(model))
    assert foldable(graph, node(model, "GridLerp"))
    assert chain_to("g (int8[N,3] q, float[3,5] t) => (int8[N,3] y) <float s = {0.5}, int8 z = {0}>"
                    "{ x = DequantizeLinear (q, s, z) f = psaflow.GridLerp (x, t) y = QuantizeLinear (f, s, z) }") is None  # fmt: skip
