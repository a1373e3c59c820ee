"""Any chain of per-channel functions between two quantizers -> a table, compared on all 256 codes of every channel."""

import itertools

import numpy as np
import onnx
import pytest

from passes.annotate import InferShapes
from passes.elementwise import PRIMITIVES
from passes.function_to_lut import BOUNDARY_ENTRIES, FunctionToLUT
from passes.graph import get_metadata
from tests.passes.graphs import (
    HEADER,
    apply,
    assert_equal_values,
    assert_untouched,
    attributes,
    constant,
    every_code,
    node,
    parse,
    refusal,
    run,
)

RNG = np.random.default_rng(0)
PARAMETERS = "(x, qw, qb, v, ow, ob)"


def literal(name: str, values: np.ndarray) -> str:
    return f"float[{','.join(map(str, values.shape))}] {name} = {{{', '.join(map(repr, values.ravel().astype(np.float32).tolist()))}}}"


FUNCTION = ", ".join([literal(n, RNG.normal(size=(3, 4)) * 2) for n in ("qw", "qb", "v")]
                     + [literal(n, RNG.normal(size=3)) for n in ("ow", "ob")])  # fmt: skip
GRID = literal("table", RNG.normal(size=(3, 17)) * 3)

# name -> (nodes from x to f, constants); x is at 1/16, f at 1/32, 3 channels
FUNCTIONS = {
    "Relu": ("f = Relu (x)", ""),
    "LeakyRelu": ("f = LeakyRelu <alpha = 0.1> (x)", ""),
    "Sigmoid": ("f = Sigmoid (x)", ""),
    "Tanh": ("f = Tanh (x)", ""),
    "SiLU": ("a = Sigmoid (x) f = Mul (x, a)", ""),
    "Softplus, Exp and Log": ("a = Exp (x) b = Add (a, c1) f = Log (b)", "float c1 = {1}"),
    "Gelu of parts, tanh": ("a = Mul (x, x) b = Mul (a, x) c = Mul (b, c1) d = Add (x, c) e = Mul (d, c2) t = Tanh (e) u = Add (t, c3)"
                            " v = Mul (x, u) f = Mul (v, c4)",
                            "float c1 = {0.044715}, float c2 = {0.79788456}, float c3 = {1}, float c4 = {0.5}"),
    "Gelu of parts, Pow and Div": ("a = Pow (x, c1) b = Mul (a, c2) c = Add (x, b) e = Div (c, c3) t = Erf (e) u = Add (t, c4) f = Mul (x, u)",
                                   "float c1 = {3}, float c2 = {0.04}, float c3 = {1.4142135}, float c4 = {1}"),
    "Clip per channel": ("a = Max (x, low) f = Min (a, high)", "float[3] low = {-1, -0.5, -8}, float[3] high = {2, 0.5, 0}"),
    "residual": ("a = Tanh (x) f = Add (x, a)", ""),
    "a residual of the residual": ("a = Tanh (x) b = Add (x, a) c = Sigmoid (b) f = Sub (b, c)", ""),
    "GridLerp and a residual": ("a = psaflow.GridLerp <bound = 4.0, residual = 0> (x, table) f = Add (a, x)", GRID),
    "an intermediate quantizer": ("a = Tanh (x) p = QuantizeLinear (a, ys, z) b = DequantizeLinear (p, ys, z) f = Mul (b, gain)",
                                  "float[3] gain = {1.5, -0.3, 4}"),
    "three quantizers": ("a = Mul (x, gain) p = QuantizeLinear (a, xs, z) b = DequantizeLinear (p, xs, z) c = Relu (b)"
                         " r = QuantizeLinear (c, ys, z) d = DequantizeLinear (r, ys, z) f = Sigmoid (d)", "float[3] gain = {1.5, -0.3, 4}"),
    "residual through a quantizer": ("a = Sigmoid (x) p = QuantizeLinear (a, ys, z) b = DequantizeLinear (p, ys, z) f = Add (x, b)", ""),
    "BatchNormalization and Transposes": (
        "t = Transpose <perm = [0, 2, 1]> (x) n = BatchNormalization <epsilon = 0.001> (t, g, b, m, v)"
        " r = Relu (n) f = Transpose <perm = [0, 2, 1]> (r)",
        "float[3] g = {1.5, -0.3, 4}, float[3] b = {0, 1, -2}, float[3] m = {0.1, 0.2, 0.3}, float[3] v = {1, 4, 0.25}"),
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
    assert table.dtype == np.int8 and table.shape[1] == 256
    assert (table == expected[:, 0, :].T).all()
    assert (len(table) == 1) == (expected == expected[..., :1]).all()  # one row where all channels agree
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
    body = "f = Identity (x) v = QuantizeLinear (f, xs, z)"
    after = apply(parse(chain(body, scale=1.0, out=4.0, more=", int8[N,2,3] v")), FunctionToLUT())
    assert [n.op_type for n in after.graph.node].count("ChannelLUT") == 2
    assert int(get_metadata(after, BOUNDARY_ENTRIES)) == 3 * 64


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
    "parameter per element": chain("f = Add (x, b)", "float[2,3] b = {1, 2, 3, 4, 5, 6}"),
    "a quantization to uint8": """
        g (int8[N,3] q) => (uint8[N,3] y) <float s = {0.5}, int8 z = {0}, uint8 u = {128}>
        { x = DequantizeLinear (q, s, z)
          f = Relu (x)
          y = QuantizeLinear (f, s, u) }""",
    "a Requant alone": """
        g (int8[N,3] q) => (int8[N,3] y) <int32[3] m = {1, 2, 3}, int32 b = {0}, int32 s = {2}>
        { y = psaflow.Requant <axis = -1, rounding = "HALF_EVEN", lo = -128, hi = 127> (q, m, b, s) }""",
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


PER_TOKEN = {
    "two axes": ("f = Add (x, b)", "float[2,1] b = {1, 2}"),
    "three axes": ("f = Add (x, b)", "float[1,2,1] b = {1, 2}"),
    "quantized": ("b = DequantizeLinear (bi, s1) f = Add (x, b)", "int8[2,1] bi = {1, 2}, float s1 = {0.5}"),
    "BatchNormalization": ("f = BatchNormalization (x, g, b, g, g)", "float[2] g = {1.5, 0.3}, float[2] b = {0, 1}"),
}


@pytest.mark.parametrize(("body", "constants"), PER_TOKEN.values(), ids=PER_TOKEN)
def test_channels_that_are_not_innermost_are_moved_there_and_back(body: str, constants: str) -> None:
    before = parse(chain(body, constants))
    after = apply(before, FunctionToLUT())
    assert [n.op_type for n in after.graph.node] == ["Transpose", "ChannelLUT", "Transpose"]
    assert constant(after, node(after, "ChannelLUT").input[1]).shape == (2, 256)
    assert_equal_values(before, after, q=every_code(2, 3))


def widths(low: int, high: int, out_low: int, out_high: int, kind: str = "int8") -> str:
    """A Gelu from codes low..high to codes out_low..out_high, as other tools write narrow tensors: int8 and a Clip."""
    return f"""
        g ({kind}[N,2,3] p) => (int8[N,2,3] y)
        <float xs = {{0.25}}, {kind} xz = {{0}}, float ys = {{0.5}}, int8 z = {{0}}, {kind} a = {{{low}}}, {kind} b = {{{high}}},
         int8 c = {{{out_low}}}, int8 d = {{{out_high}}}, float k1 = {{0.7071}}, float[3] k2 = {{0.5, 1, -2}}, float one = {{1}}>
        {{ q = Clip (p, a, b) x = DequantizeLinear (q, xs, xz)
           e = Mul (x, k1) h = Erf (e) i = Add (h, one) j = Mul (x, i) f = Mul (j, k2)
           w = QuantizeLinear (f, ys, z) y = Clip (w, c, d) }}"""


INT8, INT4, INT3, INT2, UINT4, UINT7 = (-128, 127), (-8, 7), (-4, 3), (-2, 1), (0, 15), (0, 127)


@pytest.mark.parametrize(("given", "result", "kind"), [
    (INT4, INT8, np.int8), (INT8, INT4, np.int8), (INT4, INT4, np.int8), (INT2, UINT4, np.int8), (UINT4, INT2, np.int8), (INT3, UINT7, np.int8),
    (UINT4, INT4, np.uint8), ((0, 255), INT8, np.uint8),
])  # fmt: skip
def test_narrow_codes_have_tables_of_256_entries_that_stay_in_range(given: tuple[int, int], result: tuple[int, int], kind: type) -> None:
    before = parse(widths(*given, *result, kind=np.dtype(kind).name))
    after = apply(before, FunctionToLUT())
    lut = node(after, "ChannelLUT")
    table = constant(after, lut.input[1])
    assert len(after.graph.node) == 1 and table.shape == (3, 256)
    assert result[0] <= table.min() <= table.max() <= result[1]
    assert_equal_values(before, after, p=every_code(2, 3, kind=kind))


def test_a_source_that_was_clipped_elsewhere_has_its_reachable_entries_and_the_others_defined() -> None:
    """The source comes as it is, int8 that holds INT4 codes; all 256 entries are what the chain gives there."""
    before = parse(chain("a = Sigmoid (x) f = Mul (x, a)", scale=0.5))
    after = apply(before, FunctionToLUT())
    table = constant(after, node(after, "ChannelLUT").input[1])
    codes = np.arange(-8, 8, dtype=np.int8).repeat(6).reshape(16, 2, 3)
    expected = run(before, q=codes)[0]
    assert (expected[:, 0, :1] == table[:, 120:136].T).all()


STEPS = (
    "{o} = Relu ({i})", "{o} = LeakyRelu <alpha = 0.1> ({i})", "{o} = Sigmoid ({i})", "{o} = Tanh ({i})", "{o} = Abs ({i})", "{o} = Erf ({i})",
    "{o} = Clip ({i}, low, high)", "{o} = Mul ({i}, gain)", "{o} = Add (offset, {i})", "{o} = Sub (offset, {i})", "{o} = Max ({i}, offset)",
    "{o} = Add ({i}, x)", "{o} = Mul ({i}, x)", "{o} = PRelu ({i}, gain)", "{o} = psaflow.GridLerp <bound = 4.0, residual = 1> ({i}, table)",
    "{o} = psaflow.LerpPSA <grid = 64, bound = 4.0, epsilon = 1.0, residual = 0> ({i}, qw, qb, v, ow, ob)",
    "q_{o} = QuantizeLinear ({i}, xs, z) {o} = DequantizeLinear (q_{o}, xs, z)",
    "q_{o} = QuantizeLinear ({i}, ys, z) c_{o} = Clip (q_{o}, four_low, four_high) {o} = DequantizeLinear (c_{o}, ys, z)",
    "t_{o} = Transpose <perm = [0, 2, 1]> ({i}) n_{o} = BatchNormalization (t_{o}, gain, offset, offset, spread)"
    " {o} = Transpose <perm = [0, 2, 1]> (n_{o})",
)
CONSTANTS = f"""float low = {{-1.3}}, float high = {{2.2}}, float[3] gain = {{1.5, -0.3, 2}}, float[3] offset = {{0, 1, -2}},
    float[3] spread = {{1, 4, 0.25}}, int8 four_low = {{-8}}, int8 four_high = {{7}}, {GRID}, {FUNCTION}"""


@pytest.mark.parametrize("seed", range(30))
def test_random_chains_become_one_table_each(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["x", *(f"v{i}" for i in range(int(rng.integers(2, 9)))), "f"]
    steps = [STEPS[rng.integers(len(STEPS))].format(i=i, o=o) for i, o in itertools.pairwise(names)]
    before = parse(chain(" ".join(steps), CONSTANTS))
    assert_one_table(before, apply(before, FunctionToLUT()))


def test_two_tables_in_a_row_become_one_and_keep_what_they_counted() -> None:
    before = parse(chain("f = Identity (x)", scale=1.0, out=2.0, more=", int8[N,2,3] t").replace(
        "[act_quantize] y", "y").replace("(f, ys, z) }", "(f, ys, z) w = DequantizeLinear (y, ys, z) u = Tanh (w) t = QuantizeLinear (u, xs, z) }"))
    after = apply(before, FunctionToLUT())
    assert [(n.op_type, n.input[0]) for n in after.graph.node] == [("ChannelLUT", "q")] * 2
    assert int(get_metadata(after, BOUNDARY_ENTRIES)) == 3 * 128
    assert_equal_values(before, after, q=every_code(2, 3))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_gelu_of_opset_20_is_folded(approximate: str) -> None:
    header = HEADER.replace('"" : 18', '"" : 20')
    before = onnx.parser.parse_model(header + chain(f'f = Gelu <approximate = "{approximate}"> (x)'))
    assert_one_table(before, apply(before, InferShapes(), FunctionToLUT()))


@pytest.mark.parametrize("body", ["f = own.Silu (x)", "s = own.Silu (x) f = Add (s, x)"])
def test_a_function_of_the_model_s_own_is_folded(body: str) -> None:
    function = '<domain: "own", opset_import: ["" : 18]> Silu (x) => (y) { s = Sigmoid (x) y = Mul (x, s) }'
    model = onnx.parser.parse_model(f"{HEADER.replace('psaflow.hw', 'own')}{chain(body)}{function}")
    for n in model.graph.node:
        n.name = n.output[0]
    assert_one_table(model, apply(model, InferShapes(), FunctionToLUT()))


def test_a_chain_that_gives_one_code_two_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the standard's word on an op ever be wrong, the table's own check catches it."""
    monkeypatch.setattr("passes.elementwise.PRIMITIVES", PRIMITIVES | {"CumSum"})
    text = chain("f = CumSum (x, axis)", "int64 axis = {0}")
    assert "y: the chain from 'q' gives one code two answers at two places" in refusal(parse(text), FunctionToLUT())
