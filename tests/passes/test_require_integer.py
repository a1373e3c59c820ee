"""The gate behind the integer stage."""

import pytest

from passes.require_integer import RequireInteger
from tests.passes.graphs import assert_untouched, parse, refusal

INTEGER = {
    "table, layout": """
        g (uint8[N,2,2] x) => (int8[N,4] y) <int8[2,256] table, int64[2] flat = {-1, 4}>
        { t = psaflow.ChannelLUT <lowest = 0> (x, table)
          u = Transpose <perm = [0, 2, 1]> (t)
          y = Reshape (u, flat) }""",
    "residual": """
        g (int8[N,2] p, int8[N,2] q) => (int8[N,2] y) <int32 two = {2}, int32[1] one = {1}, int32[1] none = {0}>
        { a = Cast <to = 6> (p)
          b = Cast <to = 6> (q)
          c = Mul (b, two)
          t = Add (a, c)
          y = psaflow.Requant (t, one, none, none) }""",
    "linear, sum": """
        g (int8[N,2,2] x) => (int32[N,3] y) <int8[2,3] w = {1, 2, 3, 4, 5, 6}, int64[1] tokens = {1}, int32[3] b = {1, 2, 3}>
        { m = MatMulInteger (x, w)
          s = ReduceSum <keepdims = 1> (m, tokens)
          t = Squeeze (s, tokens)
          y = Add (t, b) }""",
}


def text(case: str) -> str:
    return INTEGER[case].replace("int8[2,256] table", f"int8[2,256] table = {{{', '.join(['0'] * 512)}}}")


@pytest.mark.parametrize("case", INTEGER)
def test_an_integer_graph_passes_unchanged(case: str) -> None:
    assert_untouched(parse(text(case)), RequireInteger())


QUANT = 'qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'
REFUSALS = {
    "float weights": ("""
        g (int8[N,2] q) => (int8[N,2] y) <float s = {0.5}, int8 z = {0}, float[2,2] w = {1, 2, 3, 4}>
        { x = DequantizeLinear (q, s, z)
          [fc_matmul] a = MatMul (x, w)
          y = QuantizeLinear (a, s, z) }""", ("MatMul fc_matmul", "float weights without a quantizer", "(w)", "kind: quantized")),
    "float weights, float input": ("""
        g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}>
        { [fc_matmul] y = MatMul (x, w) }""", ("MatMul fc_matmul", "float weights without a quantizer", "(w)", "kind: quantized")),
    "float linear result": ("""
        g (int8[N,2] q) => (float[N,2] y) <float s = {0.5}, int8 z = {0}, int8[2,2] w = {1, 2, 3, 4}>
        { x = DequantizeLinear (q, s, z)
          v = DequantizeLinear (w, s, z)
          [fc_matmul] a = MatMul (x, v)
          y = Sigmoid (a) }""", ("MatMul fc_matmul", "no quantizer before it, or its result none behind it")),
    "softmax": ("""
        g (int8[N,2] q) => (int8[N,2] y) <float s = {0.5}, int8 z = {0}>
        { x = DequantizeLinear (q, s, z)
          [attention] a = Softmax (x)
          y = QuantizeLinear (a, s, z) }""", ("Softmax attention", "supported:", "linear layers")),
    "unknown op": ("""
        g (int8[N,2,3] x, int8[N,2,3] v) => (int8[N,4,3] y)
        { [join] y = Concat <axis = 1> (x, v) }""", ("Concat join of int8 [N, 2, 3], int8 [N, 2, 3]", "unsupported")),
    "with a constant": ("""
        g (int8[N,2,3] x) => (int8[N,2,1] y) <int64[1] at = {0}>
        { [pick] y = Gather <axis = 2> (x, at) }""", ("Gather pick of int8 [N, 2, 3], int64 [1]", "unsupported")),
    "quantizer left": (f"""
        g (float[N,2] x) => (float[N,2] y) <float s = {{0.5}}, float z = {{0}}, float n = {{8}}>
        {{ [late] y = {QUANT} (x, s, z, n) }}""", ("Quant late of float [N, 2], float32 []", "unsupported")),
    "cast to float": ("""
        g (int8[N,2] x) => (float[N,2] y)
        { [widen] y = Cast <to = 1> (x) }""", ("Cast widen of int8 [N, 2]", "unsupported")),
    "float constant": ("""
        g (float[N,2] x) => (float[N,2] y) <float[2] b = {1, 2}>
        { [shift] y = Add (x, b) }""", ("Add shift of float [N, 2], float32 [2]", "unsupported")),
    "dequantized output": ("""
        g (int8[N,2] q) => (float[N,2] logits) <float s = {0.5}, int8 z = {0}>
        { logits = DequantizeLinear (q, s, z) }""", ("DequantizeLinear logits", "the graph's end")),
    "float all along": ("""
        g (float[N,2] x) => (float[N,2] logits)
        { logits = Identity (x) }""", ("logits", "still float")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), RequireInteger())
    for word in words:
        assert word in message
