"""What counts as element-wise, against what onnxruntime does, op by op."""

import numpy as np
import onnx
import pytest
from onnx import defs, helper

from custom_ops import add_functions
from custom_ops.runtime import ORT_ERRORS, ModelError, session
from passes.elementwise import PRIMITIVES, is_elementwise
from tests.passes.graphs import HEADER, parse

SHAPE, SIZE = (2, 3, 4), 24
OPSET = 22  # what onnxruntime has all of
KINDS = (np.float32, np.int32, np.bool_, np.uint8)
ATTRIBUTES = {"Cast": {"to": 1}, "BitShift": {"direction": "LEFT"}, "Mod": {"fmod": 1}}
# They hand elements on as they are, at this shape or outside of training; they are no functions, and not worth a proof.
NO_FUNCTIONS = {"Dropout", "Squeeze", "Optional", "OptionalGetElement"}


def draw(kind: type, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    if kind is np.bool_:
        return rng.random(size) < 0.5
    return rng.normal(0, 2, size).astype(np.float32) if kind is np.float32 else rng.integers(0, 5, size).astype(kind)


def keeps_places(op: str, count: int, kind: type) -> tuple[bool, bool] | None:
    """(what onnxruntime does, what we say): is each element a function of those at its place? None where it does not run."""
    rng = np.random.default_rng(0)
    node = helper.make_node(op, [f"x{i}" for i in range(count)], ["y"], **ATTRIBUTES.get(op, {}))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info(i, element, SHAPE) for i in node.input],
                              [helper.make_empty_tensor_value_info("y")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    try:
        opened = session(model, kernels=False, optimize=False, threads=1)
    except ModelError:
        return None

    def answer(values: list[np.ndarray]) -> np.ndarray:
        y = opened.run(None, {f"x{i}": v.reshape(SHAPE) for i, v in enumerate(values)})[0]
        return y.ravel() if isinstance(y, np.ndarray) and y.shape == SHAPE else np.zeros(0)

    first = [draw(kind, rng) for _ in range(count)]
    try:
        expected = answer(first)
        same = expected.size == SIZE
        for _ in range(3 if same else 0):  # each element elsewhere, among others
            order, kept = rng.permutation(SIZE), rng.random(SIZE) < 0.5
            found = answer([np.where(kept, v[order], draw(kind, rng)).astype(kind) for v in first])
            same = same and np.allclose(found[kept].astype(float), expected[order][kept].astype(float), 1e-5, 1e-6, equal_nan=True)
    except ORT_ERRORS:
        return None
    return same, is_elementwise(node, model)


def test_of_all_ops_of_the_standard_those_that_keep_places_are_elementwise_and_no_others() -> None:
    ran, accepted, wrong = 0, set(), {}
    for op in sorted({s.name for s in defs.get_all_schemas() if not s.domain}):
        schema = defs.get_schema(op)
        for count, kind in ((n, k) for n in (1, 2, 3) if schema.min_input <= n <= schema.max_input for k in KINDS):
            found = keeps_places(op, count, kind)
            if found is None:
                continue
            ran += 1
            accepted |= {op} if found[1] else set()
            if found[0] != found[1]:
                wrong[op] = found
    assert set(wrong) == NO_FUNCTIONS
    assert not any(said for _, said in wrong.values())  # nothing that mixes elements was ever accepted
    assert accepted >= PRIMITIVES - {"Where"}  # its condition is bool and its branches are not: below
    assert accepted >= {"Relu", "LeakyRelu", "Gelu", "Mish", "HardSwish", "Elu", "Selu", "Celu", "Softplus", "Softsign", "PRelu", "Clip",
                        "ThresholdedRelu", "HardSigmoid", "Shrink", "Sigmoid", "Tanh", "Erf"}  # fmt: skip
    assert ran > 100


def call(text: str, functions: str = "") -> tuple[onnx.NodeProto, onnx.ModelProto]:
    """The last node of a body on floats x [N, 2, 3], with functions of the model's own."""
    header = HEADER.replace('"" : 18', '"" : 22, "own" : 1')
    model = onnx.parser.parse_model(f"{header}\ng (float[N,2,3] x, bool[N,2,3] c) => (float[N,2,3] y) {{ {text} }} {functions}")
    return model.graph.node[-1], model


OWN = '<domain: "own", opset_import: ["" : 22, "own" : 1]> {} (x) => (y) {{ {} }}'


@pytest.mark.parametrize(("text", "functions", "expected"), [
    ("y = Where (c, x, x)", "", True),
    ("y = Gelu <approximate = \"tanh\"> (x)", "", True),
    ("y = own.Silu (x)", OWN.format("Silu", "s = Sigmoid (x) y = Mul (x, s)"), True),
    ("y = own.Outer (x)", OWN.format("Outer", "y = own.Inner (x)") + OWN.format("Inner", "y = Tanh (x)"), True),
    ("y = own.Norm (x)", OWN.format("Norm", "m = ReduceMax (x) y = Sub (x, m)"), False),
    ("y = own.Shift (x)", OWN.format("Shift", "c = Constant <value = float[3] {1, 2, 3}> () y = Add (x, c)"), False),
    ("y = own.Loop (x)", OWN.format("Loop", "y = own.Loop (x)"), False),
    ("y = own.Gone (x)", "", False),
    ("y = Softmax <axis = -1> (x)", "", False),
    ("y = LogSoftmax <axis = -1> (x)", "", False),
    ("y = LpNormalization <axis = -1> (x)", "", False),
    ("y = RandomNormalLike (x)", "", False),
    ("y = Bernoulli (x)", "", False),
    ("y = Dropout (x)", "", False),
])  # fmt: skip
def test_a_function_is_what_its_body_is(text: str, functions: str, expected: bool) -> None:
    assert is_elementwise(*call(text, functions)) is expected


@pytest.mark.parametrize("op", ["CumSum", "LayerNormalization", "RMSNormalization", "GroupNormalization", "InstanceNormalization", "LRN",
                                "MatMul", "Gemm", "Conv", "Resize", "Gather", "ReduceSum", "ReduceMean", "Transpose", "Reshape", "Concat",
                                "BatchNormalization", "QuantizeLinear", "RandomNormal", "Multinomial", "If", "Loop", "Scan", "LSTM"])  # fmt: skip
def test_what_reads_neighbours_or_is_random_or_has_a_state_is_not_elementwise(op: str) -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Identity (x) }", shapes=False)
    assert op not in PRIMITIVES
    assert not is_elementwise(helper.make_node(op, ["x", "w", "b"], ["y"]), model)


def test_quant_of_qonnx_is_elementwise_by_its_body() -> None:
    model = parse("""g (float[N,3] x) => (float[N,3] y) <float s = {0.5}, float z = {0}, float b = {4}>
                     { y = qonnx.custom_op.general.Quant (x, s, z, b) }""", shapes=False)  # fmt: skip
    assert is_elementwise(model.graph.node[0], add_functions(model))
