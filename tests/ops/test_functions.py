"""add_functions: what a model needs to run in plain onnxruntime, attached once."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from qonnx.custom_op.registry import getCustomOp, is_custom_op

import custom_ops
from custom_ops import DOMAINS, OpError, add_functions
from custom_ops.runtime import session

from .faces import int8, int32

RNG = np.random.default_rng(0)


def model_of(nodes, constants, *, opset=18, shape=("N", 4, 6), out=TensorProto.INT8):
    """x int8 `shape` -> y; domains of ours are not imported yet."""
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("x", TensorProto.INT8, shape)],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def requant_twice():
    """Requant along the channels, then along the tokens: two bodies of one op."""
    constants = {"one": np.int32(1), "zero": np.int32(0), "c": int32(RNG, 0, 4, 6), "t": int32(RNG, 0, 4, 4)}
    nodes = [
        helper.make_node("Requant", ["x", "one", "zero", "c"], ["m"], name="channels", domain="psaflow"),
        helper.make_node("Requant", ["m", "one", "zero", "t"], ["y"], name="tokens", domain="psaflow", axis=-2),
    ]
    return model_of(nodes, constants), constants


def names(model):
    return [(function.domain, function.name, function.overload) for function in model.functions]


def test_each_body_is_attached_once_with_the_imports_it_needs():
    model, _ = requant_twice()
    for _ in range(2):
        add_functions(model)
        assert names(model) == [("psaflow", "Requant", ""), ("psaflow", "Requant", "axis_2")]
        assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 18), ("psaflow", 1)}
        assert model.ir_version == 10
        assert [node.overload for node in model.graph.node] == ["", "axis_2"]


def test_two_bodies_of_one_op_in_one_model_do_not_mix():
    model, constants = requant_twice()
    x = int8(RNG, 3, 4, 6)
    reference = custom_ops.Requant.reference
    expected = reference(reference(x, 1, 0, constants["c"]), 1, 0, constants["t"], axis=-2)
    for optimize in (True, False):
        (got,) = session(add_functions(model), kernels=False, optimize=optimize).run(None, {"x": x})
        np.testing.assert_array_equal(got, expected)


def test_a_stale_body_is_replaced_and_a_stranger_kept():
    model, _ = requant_twice()
    stale = parser.parse_function('<domain: "psaflow", opset_import: ["" : 18]> Requant (x, m, b, s) => (y) { y = Identity (x) }')
    unused = parser.parse_function('<domain: "psaflow", opset_import: ["" : 18]> GridLerp (x, t) => (y) { y = Identity (x) }')
    stranger = parser.parse_function('<domain: "other", opset_import: ["" : 18]> Twice (x) => (y) { y = Add (x, x) }')
    model.functions.extend([stale, unused, stranger])
    add_functions(model)
    assert names(model) == [("other", "Twice", ""), ("psaflow", "Requant", ""), ("psaflow", "Requant", "axis_2")]
    assert len(model.functions[1].node) > 10


def test_a_body_brings_the_bodies_it_calls():
    rng = np.random.default_rng(1)
    parameters = {name: rng.normal(size=(6, 8)).astype(np.float32) for name in ("q_w", "q_b", "v")}
    parameters |= {name: rng.normal(size=6).astype(np.float32) for name in ("o_w", "o_b")}
    node = helper.make_node("LerpPSA", ["x", *parameters], ["y"], domain="psaflow")
    model = model_of([node], parameters)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert {name for _, name, _ in names(add_functions(model))} == {"LerpPSA", "PSA", "GridLerp"}


def test_nodes_inside_a_subgraph_count():
    inner = helper.make_node("ChannelLUT", ["x", "t"], ["z"], name="lut", domain="psaflow")
    branches = {
        f"{name}_branch": helper.make_graph([node], name, [], [helper.make_tensor_value_info(node.output[0], TensorProto.INT8, None)])
        for name, node in (("then", inner), ("else", helper.make_node("Identity", ["x"], ["same"])))
    }
    constants = {"t": int8(RNG, 6, 256), "yes": np.array(True)}
    model = add_functions(model_of([helper.make_node("If", ["yes"], ["y"], **branches)], constants))
    assert names(model) == [("psaflow", "ChannelLUT", "")]
    x = int8(RNG, 2, 4, 6)
    (got,) = session(model, kernels=False).run(None, {"x": x})
    np.testing.assert_array_equal(got, custom_ops.ChannelLUT.reference(x, constants["t"]))


def test_bodies_follow_a_newer_opset():
    model, _ = requant_twice()
    model.opset_import[0].version = 21
    x = int8(RNG, 3, 4, 6)
    (newer,) = session(add_functions(model), kernels=False).run(None, {"x": x})
    model.opset_import[0].version = 18
    (older,) = session(add_functions(model), kernels=False).run(None, {"x": x})
    np.testing.assert_array_equal(newer, older)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"op_type": "ChannelLut", "domain": "psaflow"}, "psaflow has no op 'ChannelLut'; did you mean 'ChannelLUT'?"),
        ({"op_type": "Softmax", "domain": "psaflow.hw"}, "psaflow.hw has no op 'Softmax'; known: Patches, ChannelLUT, "),
        ({"op_type": "Fifo", "domain": "psaflow.hw", "dept": 4}, "Fifo n: no attribute 'dept'; did you mean 'depth'?"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(node, message):
    model = model_of([helper.make_node(inputs=["x"], outputs=["y"], name="n", **node)], {})
    with pytest.raises(OpError) as error:
        add_functions(model)
    assert str(error.value).startswith(message)


def test_an_older_opset_is_refused():
    model = model_of([helper.make_node("Fifo", ["x"], ["y"], domain="psaflow.hw")], {}, opset=13)
    with pytest.raises(OpError, match="opset 13 is older than the 18"):
        add_functions(model)


def test_an_overload_inside_a_function_is_refused():
    """onnxruntime would run the body for the last axis there, without a word."""
    model, _ = requant_twice()
    text = 'opset_import: ["" : 18, "psaflow" : 1]> F (x, m, b, s) => (y) { y = psaflow.Requant <axis = -2> (x, m, b, s) }'
    model.functions.append(parser.parse_function(f'<domain: "other", {text}'))
    with pytest.raises(OpError, match=r"Requant .* cannot be used in function F; inline it"):
        add_functions(model)


def test_every_body_passes_the_checker_and_qonnx_knows_every_op():
    for domain, ops in DOMAINS.items():
        for name, op in ops.items():
            assert is_custom_op(domain, name)
            node = helper.make_node(name, [f"i{i}" for i in range(len(op.inputs))], list(op.outputs), domain=domain)
            assert type(getCustomOp(node)) is op
            assert getCustomOp(node).values() == dict(op.attributes)
            for overload in ("", *op.overloads):
                function = op.function(overload)
                assert {attribute.name for attribute in function.attribute_proto} == {*op.attributes, *op.folding}
                onnx.checker.check_function(function)
