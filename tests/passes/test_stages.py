"""The whole road of tiny networks: exported, tidy, streamlined, integer, dataflow; the same answers all along."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops import add_functions
from custom_ops.runtime import session
from passes import INTEGER, RUNTIME, STREAMLINE, TIDY, dataflow
from passes.check import logits
from passes.function_to_lut import BOUNDARY_ENTRIES
from passes.graph import Graph, PassRefusal, get_metadata
from passes.hardware import hardware_nodes, plan
from passes.logits_to_integer import SCALE
from tests.conftest import ACTIVATIONS, TARGET_CYCLES, Network

STAGES = ("exported", "tidy", "streamlined", "integer", "dataflow")
NEAR_BOUNDARIES = 3  # images of 64 that may differ where PyTorch's softmax lands on the other side of a rounding boundary

each_network = pytest.mark.parametrize("activation", ACTIVATIONS)
each_stage = pytest.mark.parametrize("stage", STAGES)


def types(model: ModelProto) -> dict[str, tuple[int, list]]:
    """Every tensor's element type and shape, as far as noted."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {
        v.name: (v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in values
        if v.type.tensor_type.HasField("shape")
    }


@each_network
def test_no_pass_changes_an_answer(network: Callable[[str], Network], activation: str) -> None:
    records = network(activation).records
    assert [r.name for r in records] == [type(p).__name__ for p in (*TIDY, *STREAMLINE, *INTEGER, *dataflow(TARGET_CYCLES))]
    assert [r.mismatches for r in records] == [0] * len(records)


@each_stage
@each_network
def test_a_stage_is_a_valid_model_with_a_shape_on_every_tensor(network: Callable[[str], Network], activation: str, stage: str) -> None:
    model = network(activation).stages[stage]
    onnx.checker.check_model(model, full_check=True)
    known = types(model)
    for node in model.graph.node:
        for tensor in node.output:
            kind, shape = known[tensor]
            assert kind != TensorProto.UNDEFINED, tensor
            if tensor not in parameters(model):
                assert isinstance(shape[0], str) and all(isinstance(d, int) and d > 0 for d in shape[1:]), (tensor, shape)
    assert known[model.graph.output[0].name][1] == ["N", 10]


def parameters(model: ModelProto) -> set[str]:
    """Tensors that are computed from constants alone."""
    constant = {i.name for i in model.graph.initializer}
    for node in model.graph.node:
        if set(node.input) <= constant:
            constant.update(node.output)
    return constant


@each_stage
@each_network
def test_a_stage_runs_in_plain_onnxruntime_at_any_batch(
    network: Callable[[str], Network], images: np.ndarray, activation: str, stage: str
) -> None:
    model = network(activation).stages[stage]
    assert types(model)[model.graph.input[0].name] == (TensorProto.UINT8, ["N", 32, 32, 3])
    opened = session(model, kernels=False, threads=1)
    name = model.graph.input[0].name
    alone = np.concatenate([opened.run(None, {name: images[i : i + 1]})[0] for i in range(3)])
    together = opened.run(None, {name: images[:7]})[0]
    assert together.shape == (7, 10)
    assert (together[:3] == alone).all()


@each_stage
@each_network
def test_kernels_and_bodies_agree(network: Callable[[str], Network], images: np.ndarray, activation: str, stage: str) -> None:
    model = network(activation).stages[stage]
    feed = {model.graph.input[0].name: images[:8]}
    plain = session(model, kernels=False, threads=1).run(None, feed)[0]
    assert (session(model, kernels="auto", threads=1).run(None, feed)[0] == plain).all()


@each_network
def test_the_integer_stage_holds_no_float_tensor(network: Callable[[str], Network], activation: str) -> None:
    for stage in ("integer", "dataflow"):
        model = network(activation).stages[stage]
        kinds = {kind for kind, _ in types(model).values()} | {i.data_type for i in model.graph.initializer}
        assert kinds <= {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64}
        assert types(model)["logits"] == (TensorProto.INT32, ["N", 10])
        assert float(get_metadata(model, SCALE)) > 0


@each_network
def test_the_dataflow_stage_is_hardware_with_single_readers_and_matching_lanes(network: Callable[[str], Network], activation: str) -> None:
    model = network(activation).stages["dataflow"]
    graph = Graph(ModelWrapper(model))
    nodes = hardware_nodes(graph)
    assert {n.domain for n in model.graph.node[:-1]} == {"psaflow.hw"}
    assert (model.graph.node[-1].op_type, list(model.graph.node[-1].output)) == ("Squeeze", ["logits"])
    names = [n.name for n in nodes]
    assert len(set(names)) == len(names)
    given = {t: lanes for n in nodes for t, lanes in zip(n.output, plan(graph, n).out_lanes, strict=True)}
    for node in nodes:
        figures = plan(graph, node)
        assert figures.cycles <= TARGET_CYCLES, node.name
        for tensor, lanes in zip(node.input, figures.in_lanes, strict=False):
            assert given.get(tensor, lanes) == lanes, tensor
        assert all(len(graph.consumers(t)) == 1 for t in node.output), node.name


@each_network
def test_quantized_tensors_have_their_datatypes(network: Callable[[str], Network], activation: str) -> None:
    for stage in ("integer", "dataflow"):
        wrapper = ModelWrapper(network(activation).stages[stage])
        for tensor, (kind, _) in types(wrapper.model).items():
            name = wrapper.get_tensor_datatype(tensor).name
            if kind == TensorProto.INT8:
                assert name == "INT8" or (stage == "integer" and int(name.split("INT")[1]) <= 6), tensor
            elif kind == TensorProto.UINT8:
                assert name == "UINT8", tensor
            elif kind == TensorProto.INT32:
                assert name.startswith("INT") and int(name[3:]) <= 32, tensor
    wrapper = ModelWrapper(network(activation).stages["integer"])
    for node in wrapper.graph.node:
        if node.op_type == "MatMulInteger":
            assert int(wrapper.get_tensor_datatype(node.output[0]).name[3:]) <= 25, node.name


@each_network
def test_brevitas_the_export_and_the_integers_agree(
    network: Callable[[str], Network], images: np.ndarray, activation: str, record_property: Callable[[str, object], None]
) -> None:
    import torch

    net = network(activation)
    with torch.no_grad():
        brevitas = net.quantized.eval()(torch.from_numpy(images)).numpy().astype(np.float64)
    exported, integer, hardware = (logits(net.stages[s], images) for s in ("exported", "integer", "dataflow"))
    assert (integer == hardware).all()
    entries = int(get_metadata(net.stages["integer"], BOUNDARY_ENTRIES))
    assert (exported == integer).all()
    different = int((brevitas != integer).any(1).sum())
    record_property(f"{activation}: images of {len(images)} on which Brevitas and the integers differ", different)
    assert different <= (NEAR_BOUNDARIES if activation in ("psa", "lerp_psa") and entries > 0 else 0)
    assert len(np.unique(integer)) > 100  # the network does tell images apart


@each_network
def test_the_largest_integer_is_the_largest_logit(network: Callable[[str], Network], images: np.ndarray, activation: str) -> None:
    stages = network(activation).stages
    raw = session(stages["integer"], kernels=False, threads=1).run(None, {"pixels": images})[0]
    assert raw.dtype == np.int32
    assert (raw.argmax(1) == logits(stages["integer"], images).argmax(1)).all()


@pytest.mark.parametrize("target", [65536, 12288, 6144, 3072, 2500, 2048, 1536, 1024])
def test_every_target_within_reach_is_reached(network: Callable[[str], Network], target: int) -> None:
    wrapper = ModelWrapper(network("relu").stages["integer"], make_deepcopy=True)
    for step in dataflow(target):
        wrapper = wrapper.transform(step, cleanup=False)
    graph = Graph(wrapper)
    assert max(plan(graph, n).cycles for n in hardware_nodes(graph)) <= target


def test_a_target_out_of_reach_is_refused_with_the_node_that_limits_it(network: Callable[[str], Network]) -> None:
    wrapper = ModelWrapper(network("relu").stages["integer"], make_deepcopy=True)
    with pytest.raises(PassRefusal, match=r"input\w*: no folding reaches 100 cycles per image; raise target_cycles"):
        for step in dataflow(100):
            wrapper = wrapper.transform(step, cleanup=False)


def test_a_folding_of_the_user_reaches_the_graph(network: Callable[[str], Network]) -> None:
    wrapper = ModelWrapper(network("relu").stages["integer"], make_deepcopy=True)
    chosen = next(n.name for n in network("relu").stages["dataflow"].graph.node if n.op_type == "MatVec")
    for step in dataflow(8192, {chosen: {"PE": 4, "SIMD": 6}}):
        wrapper = wrapper.transform(step, cleanup=False)
    unit = next(n for n in wrapper.graph.node if n.name == chosen)
    assert {a.name: a.i for a in unit.attribute if a.name in ("PE", "SIMD")} == {"PE": 4, "SIMD": 6}


@each_network
def test_the_runtime_stage_is_three_nodes_a_block_and_no_pass_changes_an_answer(
    network: Callable[[str], Network], images: np.ndarray, activation: str
) -> None:
    model, records = network(activation).runtime
    assert [r.name for r in records] == [type(p).__name__ for p in RUNTIME]
    assert [r.mismatches for r in records] == [0] * len(records)
    block = ["TokenLinear", "Linear", "Linear"]
    assert [n.op_type for n in model.graph.node] == ["PatchLinear", *block, *block, "TokenMean", "LinearSum"]
    onnx.checker.check_model(model, full_check=True)
    known = types(model)
    assert all(known[n.output[0]][1][0] == "N" and all(d > 0 for d in known[n.output[0]][1][1:]) for n in model.graph.node)
    assert get_metadata(model, SCALE) == get_metadata(network(activation).stages["integer"], SCALE)
    expected = session(network(activation).stages["integer"], kernels=False, threads=1).run(None, {"pixels": images})[0]
    for kernels in (False, "auto"):
        assert (session(model, kernels=kernels, threads=1).run(None, {"pixels": images})[0] == expected).all()


def test_the_runtime_passes_find_nothing_to_do_in_their_own_result(network: Callable[[str], Network]) -> None:
    model = network("lerp_psa").runtime[0]
    again = ModelWrapper(model, make_deepcopy=True)
    for step in RUNTIME:
        again = again.transform(step, cleanup=False)
    assert again.model.graph.node == model.graph.node


PARAMETERS = """int8[2,2] w = {1, -2, 3, -128}, int32[1] m = {1}, int32[2] b = {5, -6}, int32[2] s = {1, 2}, int32 zero = {0},
    int8[8,2] deep = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16}"""
BODIES = (  # of ops that have a name of ours, and another meaning
    "Requant (x) => (y) { y = Neg (x) }", "ChannelLUT (x) => (y) { y = Identity (x) }",
    "MatMulInteger (x, w) => (y) { c = Cast <to = 6> (x) y = Neg (c) }", "Add (x, w) => (y) { y = Sub (x, w) }",
    "Cast (x) => (y) { t = Cast <to = 6> (x) y = Neg (t) }", "Quant (x) => (y) { y = Neg (x) }",
)  # fmt: skip
LAYER = "a = MatMulInteger (x, w) z = psaflow.Requant (a, m, b, s)"
SUM = "t = Add (c, d) y = psaflow.Requant (t, m, zero, m)"
FOREIGN = {  # inputs, result, nodes, those after RUNTIME
    "a Requant of others": ("int8[N,2,2] x", "int8[N,2,2] y", "y = acme.Requant (x)", "Requant"),
    "a Requant of others behind a product": ("int8[N,2,2] x", "int32[N,2,2] y", "a = MatMulInteger (x, w) y = acme.Requant (a)", "MatMulInteger Requant"),
    "a ChannelLUT of others": ("int8[N,2,2] x", "int8[N,2,2] y", "y = acme.ChannelLUT (x)", "ChannelLUT"),
    "a Quant of others": ("float[N,2,2] f", "float[N,2,2] y", "y = acme.Quant (f)", "Quant"),
    "a product of others": ("int8[N,2,2] x", "int8[N,2,2] y", "a = acme.MatMulInteger (x, w) y = psaflow.Requant (a, m, b, s)", "MatMulInteger Requant"),
    "a sum of others": ("int8[N,2,2] x", "int32[N,2,2] y", "a = MatMulInteger (x, w) y = acme.Add (a, b)", "MatMulInteger Add"),
    "a Cast of others": ("int8[N,2,2] x", "int8[N,2,2] y", f"{LAYER} c = acme.Cast (z) d = Cast <to = 6> (x) {SUM}", "Linear Cast Cast Add Requant"),
    "an op of onnxruntime": ("float[N,2,2] f", "float[N,2,2] y", "y = com.microsoft.Gelu (f)", "Gelu"),
    "one image for the whole batch": ("int8[N,2,2] x, int8[1,2,2] q", "int8[N,2,2] y", f"{LAYER} c = Cast <to = 6> (z) d = Cast <to = 6> (q) {SUM}",
                                      "Linear Cast Cast Add Requant"),
    "channels that are not known": ("int8[N,2,C] x", "int8[N,2,C] y", "y = psaflow.Requant (x, m, zero, m)", "Requant"),
    "a rank that is not known": ("int8[N,2,2] x, int64[K] shape", "int8[A,B,2] y",
                                 f"r = Reshape (x, shape) {LAYER.replace('(x, w)', '(r, w)')} c = Cast <to = 6> (z) d = Cast <to = 6> (r) {SUM}",
                                 "Reshape Linear Cast Cast Add Requant"),
    "a mean of what rank is not known": ("int8[N,2,2] x, int64[K] shape", "int8[A,2] y", """r = Reshape (x, shape) c = Cast <to = 6> (r)
        axes = Constant <value_ints = [1]> () t = ReduceSum <keepdims = 0> (c, axes) y = psaflow.Requant (t, m, zero, m)""",
                                         "Reshape Cast Constant ReduceSum Requant"),
    "patches of what size is not known": ("int8[N,H,W,2] p, int64[6] split, int64[3] join", "int8[N,K,2] y", """r = Reshape (p, split)
        o = Transpose <perm = [0, 1, 3, 2, 4, 5]> (r) k = Reshape (o, join)
        a = MatMulInteger (k, deep) y = psaflow.Requant (a, m, b, s)""", "Reshape Transpose Reshape Linear"),
    "a product that a subgraph reads": ("int8[N,2,2] x, bool k", "int8[N,2,2] y, int32[N,2,2] o", """a = MatMulInteger (x, w)
        y = psaflow.Requant (a, m, b, s)
        o = If (k) <then_branch = same () => (e) { e = Identity (a) }, else_branch = less () => (f) { f = Neg (a) }>""",
                                        "MatMulInteger Requant If"),
    "constants as nodes": ("int8[N,2,2] x", "int8[N,2,2] y", """v = Constant <value = int8[2,2] {1, 2, 3, 4}> () a = MatMulInteger (x, v)
        y = psaflow.Requant (a, m, b, s)""", "Linear"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "results", "nodes", "expected"), FOREIGN.values(), ids=FOREIGN)
def test_the_runtime_passes_leave_graphs_of_others_valid_and_equal(inputs: str, results: str, nodes: str, expected: str) -> None:
    """What looks like a pattern but is none stays; bodies and kernels give what the graph gave before."""
    header = '<ir_version: 10, opset_import: ["" : 18, "psaflow" : 1, "acme" : 1, "com.microsoft" : 1]>'
    model = onnx.parser.parse_model(f"{header} g ({inputs}) => ({results}) <{PARAMETERS}> {{ {nodes} }}")
    for node in model.graph.node:
        node.name = node.output[0]
    for body in BODIES:
        model.functions.append(onnx.parser.parse_function(f'<domain: "acme", opset_import: ["" : 18]> {body}'))
    x = np.random.default_rng(0).integers(-128, 128, (3, 2, 2), np.int8)
    feeds = {"x": x, "f": x.astype(np.float32), "q": x[:1] + np.int8(1), "k": np.array(True), "shape": np.array([2, 3, 2]),
             "p": np.arange(64, dtype=np.int8).reshape(2, 4, 4, 2), "split": np.array([2, 2, 2, 2, 2, 2]), "join": np.array([2, 4, 8])}  # fmt: skip
    given = {i.name: feeds[i.name] for i in model.graph.input}
    before = session(add_functions(model), kernels=False, threads=1).run(None, given)
    wrapper = ModelWrapper(model, make_deepcopy=True)
    for step in RUNTIME:
        wrapper = wrapper.transform(step, cleanup=False)
    after = add_functions(wrapper.model)
    assert [n.op_type for n in after.graph.node] == expected.split()
    onnx.checker.check_model(after)
    for kernels in (False, "auto"):
        for old, new in zip(before, session(after, kernels=kernels, threads=1).run(None, given), strict=True):
            assert old.shape == new.shape
            assert (old == new).all()


def test_an_initializer_that_an_input_may_replace_is_left_to_it() -> None:
    text = f"g (int8[N,2,2] x, int8[2,2] w) => (int8[N,2,2] y) <{PARAMETERS}> {{ {LAYER.replace('z =', 'y =')} }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18, "psaflow" : 1]> {text}')
    wrapper = ModelWrapper(model, make_deepcopy=True)
    for step in RUNTIME:
        wrapper = wrapper.transform(step, cleanup=False)
    x, w = np.random.default_rng(0).integers(-128, 128, (2, 3, 2, 2), np.int8)
    for feeds in ({"x": x}, {"x": x, "w": w[0]}):
        before, after = (session(add_functions(m), threads=1).run(None, feeds)[0] for m in (model, wrapper.model))
        assert (before == after).all()
