"""Any chain of per-channel functions between two quantizers -> a table, compared on all 256 codes of every channel."""

import numpy as np
import pytest

from passes.function_to_lut import BOUNDARY_ENTRIES, FunctionToLUT
from passes.graph import get_metadata
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, constant, every_code, node, parse, run

RNG = np.random.default_rng(0)
PARAMETERS = "(x, qw, qb, v, ow, ob)"


def literal(name: str, values: np.ndarray) -> str:
    return f"float[{','.join(map(str, values.shape))}] {name} = {{{', '.join(map(repr, values.ravel().astype(np.float32).tolist()))}}}"


FUNCTION = ", ".join([literal(n, RNG.normal(size=(3, 4)) * 2) for n in ("qw", "qb", "v")]
                     + [literal(n, RNG.normal(size=3)) for n in ("ow", "ob")])  # fmt: skip
GRID = literal("table", RNG.normal(size=(3, 17)) * 3)

# name -> (nodes from x to f, constants)
FUNCTIONS = {
    "Relu": ("f = Relu (x)", ""),
    "LeakyRelu": ("f = LeakyRelu <alpha = 0.1> (x)", ""),
    "Sigmoid": ("f = Sigmoid (x)", ""),
    "HardSwish": ("f = HardSwish (x)", ""),
    "Clip": ("f = Clip (x, low, high)", "float low = {-1.3}, float high = {2.2}"),
    "Gelu of parts": ("a = Mul (x, c1) b = Erf (a) c = Add (b, c2) d = Mul (x, c) f = Mul (d, c3)",
                      "float c1 = {0.70710678}, float c2 = {1}, float c3 = {0.5}"),
    "PRelu per channel": ("f = PRelu (x, slope)", "float[3] slope = {0.1, -2, 1.5}"),
    "affine per channel": ("a = Mul (x, gain) f = Add (a, offset)", "float[3] gain = {1.5, -0.3, 40}, float[1,1,3] offset = {0, 1, -2}"),
    "affine, then Relu": ("a = Mul (x, gain) b = Add (a, offset) f = Relu (b)", "float[3] gain = {1.5, -0.3, 40}, float[3] offset = {0, 1, 2}"),
    "quantized affine": ("g = DequantizeLinear (gain, s1) o = DequantizeLinear (offset, s1) a = Mul (x, g) f = Add (a, o)",
                         "int8[3] gain = {7, -128, 3}, int8[3] offset = {0, 1, -2}, float s1 = {0.3}"),
    "GridLerp": ("f = psaflow.GridLerp <bound = 4.0, residual = 0> (x, table)", GRID),
    "GridLerp, residual": ("f = psaflow.GridLerp <bound = 2.0, residual = 1> (x, table)", GRID),
    "PSA": (f"f = psaflow.PSA <epsilon = 1.0, residual = 0> {PARAMETERS}", FUNCTION),
    "LerpPSA": (f"f = psaflow.LerpPSA <grid = 64, bound = 4.0, epsilon = 1.0, residual = 1> {PARAMETERS}", FUNCTION),
    "affine, then LerpPSA": (f"m = Mul (x, gain) a = Add (m, offset) f = psaflow.LerpPSA <residual = 1> {PARAMETERS.replace('x,', 'a,')}",
                             f"float[3] gain = {{1.5, -0.3, 4}}, float[3] offset = {{0, 1, -2}}, {FUNCTION}"),
    "x twice": ("f = Mul (x, x)", ""),
    "nothing": ("f = Identity (x)", ""),
}  # fmt: skip


def chain(body: str, constants: str = "", *, scale: float = 0.0625, out: float = 0.03125, more: str = "") -> str:
    """Q(f(DQ(q))) on int8 [N, 2, 3]."""
    return f"""
        g (int8[N,2,3] q) => (int8[N,2,3] y{more})
        <float xs = {{{scale}}}, float ys = {{{out}}}, int8 z = {{0}}{", " if constants else ""}{constants}>
        {{ x = DequantizeLinear (q, xs, z)
           {body}
           [act_quantize] y = QuantizeLinear (f, ys, z) }}"""


def assert_one_table(before, after) -> np.ndarray:
    """`after` is one ChannelLUT whose table holds `before`'s answers; returns the table."""
    lut = node(after, "ChannelLUT")
    assert len(after.graph.node) == 1
    assert (lut.domain, list(lut.output)) == ("psaflow", ["y"])
    table = constant(after, lut.input[1])
    feed = {before.graph.input[0].name: every_code(2, 3, kind=np.uint8 if attributes(lut)["lowest"] == 0 else np.int8)}
    expected = run(before, **feed)[0]
    assert table.dtype == np.int8
    assert (table == expected[:, 0, :].T).all()
    assert_equal_values(before, after, **feed)
    return table


@pytest.mark.parametrize(("body", "constants"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_table_holds_every_code(body: str, constants: str) -> None:
    before = parse(chain(body, constants))
    after = apply(before, FunctionToLUT())
    assert_one_table(before, after)
    assert attributes(node(after, "ChannelLUT")) == {"rounding": "HALF_EVEN", "lowest": -128}
    assert get_metadata(after, BOUNDARY_ENTRIES) is not None


def test_pixels_are_tabulated_from_zero() -> None:
    before = parse("""
        g (uint8[N,2,3] pixels) => (int8[N,2,3] y)
        <float[3] gain = {0.016, 0.0158, 0.015}, float[3] offset = {-1.99, -1.98, -1.7}, float ys = {0.03125}, int8 z = {0}>
        { x = Cast <to = 1> (pixels)
          a = Mul (x, gain)
          f = Add (a, offset)
          y = QuantizeLinear (f, ys, z) }""")
    after = apply(before, FunctionToLUT())
    table = assert_one_table(before, after)
    assert attributes(node(after, "ChannelLUT")) == {"rounding": "HALF_EVEN", "lowest": 0}
    assert (np.diff(table.astype(int), axis=1) >= 0).all()


def test_the_order_of_operands_does_not_matter() -> None:
    before = parse(chain("a = Mul (gain, x) f = Sub (offset, a)", "float[3] gain = {1.5, -0.3, 4}, float[3] offset = {0, 1, -2}"))
    assert_one_table(before, apply(before, FunctionToLUT()))


def test_a_constant_node_counts_as_a_constant() -> None:
    before = parse(chain("c = Constant <value_float = 0.7> () d = Constant <value = float {0.7}> () f = Mul (x, d)"))
    assert_one_table(before, apply(before, FunctionToLUT()))


@pytest.mark.parametrize(("scale", "out", "entries"), [(1.0, 1.0, 0), (1.0, 2.0, 3 * 128), (1.0, 4.0, 3 * 64), (0.5, 4.0, 3 * 32)])
def test_entries_on_a_rounding_boundary_are_counted(scale: float, out: float, entries: int) -> None:
    after = apply(parse(chain("f = Identity (x)", scale=scale, out=out)), FunctionToLUT())
    assert int(get_metadata(after, BOUNDARY_ENTRIES)) == entries


def test_boundary_entries_of_several_tables_add_up() -> None:
    body = "f = Identity (x) v = QuantizeLinear (f, ys, z) w = DequantizeLinear (v, xs, z) u = Identity (w) t = QuantizeLinear (u, ys, z)"
    after = apply(parse(chain(body, scale=1.0, out=4.0, more=", int8[N,2,3] t")), FunctionToLUT())
    assert [n.op_type for n in after.graph.node].count("ChannelLUT") == 3
    assert int(get_metadata(after, BOUNDARY_ENTRIES)) == 3 * 3 * 64


def test_two_functions_of_one_tensor_become_two_tables() -> None:
    before = parse(chain("f = Relu (x) h = Sigmoid (x) v = QuantizeLinear (h, ys, z)", more=", int8[N,2,3] v"))
    after = apply(before, FunctionToLUT())
    assert sorted(n.op_type for n in after.graph.node) == ["ChannelLUT", "ChannelLUT"]
    assert_equal_values(before, after, q=every_code(2, 3))


def test_a_function_with_a_second_float_reader_stays_for_it() -> None:
    before = parse(chain("f = Relu (x) r = Neg (f)", more=", float[N,2,3] r"))
    after = apply(before, FunctionToLUT())
    assert "ChannelLUT" in [n.op_type for n in after.graph.node]
    assert_equal_values(before, after, q=every_code(2, 3))


def test_one_quantized_parameter_may_serve_two_functions() -> None:
    before = parse(chain("g = DequantizeLinear (gain, s1) f = Mul (x, g) h = Add (x, g) v = QuantizeLinear (h, ys, z)",
                         "int8[3] gain = {7, -128, 3}, float s1 = {0.3}", more=", int8[N,2,3] v"))  # fmt: skip
    after = apply(before, FunctionToLUT())
    assert sorted(n.op_type for n in after.graph.node) == ["ChannelLUT", "ChannelLUT"]
    assert_equal_values(before, after, q=every_code(2, 3))


OTHERS = {
    "Softmax": chain("f = Softmax <axis = -1> (x)"),
    "MatMul": chain("f = MatMul (x, w)", "float[3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}"),
    "mean over tokens": chain("m = ReduceMean <keepdims = 1> (x, a) f = Add (x, m)", "int64[1] a = {1}"),
    "parameter per token": chain("f = Add (x, b)", "float[2,1] b = {1, 2}"),
    "parameter per token, three axes": chain("f = Add (x, b)", "float[1,2,1] b = {1, 2}"),
    "quantized parameter per token": chain("b = DequantizeLinear (bi, s1) f = Add (x, b)", "int8[2,1] bi = {1, 2}, float s1 = {0.5}"),
    "parameter per element": chain("f = Add (x, b)", "float[2,3] b = {1, 2, 3, 4, 5, 6}"),
    "a transpose": chain("t = Transpose <perm = [0, 2, 1]> (x) r = Relu (t) f = Transpose <perm = [0, 2, 1]> (r)"),
    "two activations": """
        g (int8[N,2,3] p, int8[N,2,3] q) => (int8[N,2,3] y) <float s = {0.5}, int8 z = {0}>
        { a = DequantizeLinear (p, s, z)
          b = DequantizeLinear (q, s, z)
          f = Mul (a, b)
          y = QuantizeLinear (f, s, z) }""",
    "a float input": """
        g (float[N,2,3] x) => (int8[N,2,3] y) <float s = {0.5}, int8 z = {0}>
        { f = Relu (x)
          y = QuantizeLinear (f, s, z) }""",
    "a channel that is spread": """
        g (int8[N,2,1] q) => (int8[N,2,3] y) <float s = {0.5}, int8 z = {0}, float[3] gain = {1, 2, 3}>
        { x = DequantizeLinear (q, s, z)
          f = Mul (x, gain)
          y = QuantizeLinear (f, s, z) }""",
    "nothing but constants": """
        g (int8[N,3] q) => (int8[N,3] y, int8[3] v) <float s = {0.5}, int8 z = {0}, int8[3] w = {1, 2, 3}>
        { x = DequantizeLinear (w, s, z)
          f = Relu (x)
          v = QuantizeLinear (f, s, z)
          y = Identity (q) }""",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_no_function_of_one_code_per_channel_is_left_alone(text: str) -> None:
    assert_untouched(parse(text), FunctionToLUT())
