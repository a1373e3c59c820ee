"""What is read is whole: every rule has a model that breaks it, told in one line before onnxruntime sees the model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from custom_ops.load import MOST_ELEMENTS, ModelError, check_model, parse, read_model
from custom_ops.runtime import session

TEXT = """
    <ir_version: 10, opset_import: ["" : 18, "qonnx.custom_op.general" : 1]>
    g (float[N,2] x) => (float[N,2] y) <float s = {0.5}, float z = {0}, float n = {8}, float[2] w = {1, 2}>
    { [q] a = qonnx.custom_op.general.Quant <signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND"> (x, s, z, n)
      [m] b = Mul (a, w)
      [r] y = Relu (b) }"""


def model() -> ModelProto:
    return onnx.parser.parse_model(TEXT)


def constant(m: ModelProto, name: str) -> TensorProto:
    return next(i for i in m.graph.initializer if i.name == name)


def set_value(m: ModelProto, name: str, value: np.ndarray) -> None:
    constant(m, name).CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), name))


def set_raw(m: ModelProto, **fields: object) -> None:
    """Fields of constant w beneath what numpy_helper would write."""
    tensor = constant(m, "w")
    for name, value in fields.items():
        if name == "dims":
            tensor.dims[:] = value  # type: ignore[arg-type]
        else:
            setattr(tensor, name, value)


def add_node(m: ModelProto, *args: object, at: int | None = None, **kwargs: object) -> None:
    m.graph.node.insert(len(m.graph.node) if at is None else at, helper.make_node(*args, **kwargs))  # type: ignore[arg-type]


def branch(m: ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["b"], ["c"])], "inner", [], [helper.make_empty_tensor_value_info("c")])
    m.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    add_node(m, "If", ["yes"], ["unused"], "choose", then_branch=inner, else_branch=inner)


def own_function(m: ModelProto) -> None:
    m.functions.append(helper.make_function("theirs", "Deep", ["x"], ["y"], [helper.make_node("Deep", ["x"], ["y"], domain="theirs")],
                                            [helper.make_opsetid("theirs", 1)]))  # fmt: skip
    m.opset_import.append(helper.make_opsetid("theirs", 1))
    m.graph.node[2].op_type, m.graph.node[2].domain = "Deep", "theirs"


def sparse(m: ModelProto) -> None:
    found = m.graph.sparse_initializer.add()
    found.values.name = "thin"


FAULTS = {
    "no opset": (lambda m: m.opset_import.remove(m.opset_import[0]), ("opset 0 of the standard domain",)),
    "opset of tomorrow": (lambda m: setattr(m.opset_import[0], "version", 999), ("opset 999", "supported are 1 to")),
    "two opsets": (lambda m: m.opset_import.append(helper.make_opsetid("", 17)), ("2 opset imports of domain ''",)),
    "no opset of a domain": (lambda m: m.opset_import.remove(m.opset_import[1]), ("Quant q", "no opset import", "qonnx.custom_op.general")),
    "tensor made twice": (lambda m: m.graph.node[1].output.__setitem__(0, "a"), ("tensor 'a' is there 2 times",)),
    "constant twice": (lambda m: m.graph.initializer.append(constant(m, "w")), ("constant 'w' is there 2 times",)),
    "input twice": (lambda m: m.graph.input.append(m.graph.input[0]), ("input 'x' is there 2 times",)),
    "output twice": (lambda m: m.graph.output.append(m.graph.output[0]), ("output 'y' is there 2 times",)),
    "constant that a node makes": (lambda m: m.graph.node[1].output.__setitem__(0, "w"), ("'w' is made by a node and is",)),
    "nodes out of order": (lambda m: m.graph.node.insert(0, m.graph.node[2]) or m.graph.node.pop(), ("Relu r", "'b'", "sort the nodes")),
    "cycle": (lambda m: m.graph.node[1].input.__setitem__(0, "y"), ("Mul m", "'y'", "break cycles")),
    "itself": (lambda m: m.graph.node[1].input.__setitem__(0, "b"), ("Mul m", "'b'", "or by itself")),
    "lost tensor": (lambda m: m.graph.node[1].input.__setitem__(0, "lost"), ("Mul m", "'lost' is made by no node")),
    "lost constant": (lambda m: m.graph.initializer.remove(constant(m, "w")), ("Mul m", "'w' is made by no node")),
    "lost output": (lambda m: setattr(m.graph.output[0], "name", "lost"), ("output 'lost' is made by no node",)),
    "no type": (lambda m: m.graph.input[0].type.Clear(), ("'x' is no tensor of a known type",)),
    "type of tomorrow": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99), ("'x' is no tensor of a known type",)),
    "negative dimension": (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -2), ("'x' has a negative dimension",)),
    "no op": (lambda m: setattr(m.graph.node[2], "op_type", ""), ("node 'r' has no op type",)),
    "no result": (lambda m: add_node(m, "Relu", ["y"], [], "idle"), ("Relu idle", "gives no result")),
    "control flow": (branch, ("If choose", "control flow")),
    "unbounded size": (lambda m: add_node(m, "NonZero", ["y"], ["where"], "seek"), ("NonZero seek", "known only by running")),
    "bipolar": (lambda m: setattr(m.graph.node[0], "op_type", "BipolarQuant"), ("BipolarQuant q", "supported of QONNX are Quant and IntQuant")),
    "a function of theirs that calls itself": (own_function, ("function theirs.Deep", "not run")),
    "sparse constant": (sparse, ("sparse constant 'thin'",)),
    "data beside the model": (lambda m: set_raw(m, data_location=TensorProto.EXTERNAL), ("constant 'w'", "not found")),
    "huge constant": (lambda m: set_raw(m, dims=[2**40, 2**40]), ("constant 'w'", f"up to {MOST_ELEMENTS}")),
    "negative size of a constant": (lambda m: set_raw(m, dims=[-2]), ("constant 'w'", "[-2]")),
    "more dims than data": (lambda m: set_raw(m, dims=[3]), ("constant 'w' of shape [3]", "another size or type")),
    "type that does not exist": (lambda m: set_raw(m, data_type=99), ("constant 'w'", "another size or type")),
    "NaN": (lambda m: set_value(m, "w", np.array([1, np.nan])), ("constant 'w' holds NaN",)),
    "empty constant": (lambda m: set_value(m, "w", np.zeros((0, 2))), ("constant 'w' of shape [0, 2] is empty",)),
    "negative scale": (lambda m: set_value(m, "s", np.array(-0.5)), ("Quant q", "scale [-0.5]", "positive and finite")),
    "infinite scale": (lambda m: set_value(m, "s", np.array(np.inf)), ("Quant q", "scale [inf]", "positive and finite")),
    "no scale": (lambda m: set_value(m, "s", np.array(0)), ("Quant q", "scale [0.0]", "positive and finite")),
    "infinite bit width": (lambda m: set_value(m, "n", np.array(np.inf)), ("Quant q", "bit width of [inf]", "1..32")),
    "half a bit": (lambda m: set_value(m, "n", np.array(3.5)), ("Quant q", "bit width of [3.5]")),
    "text that is none": (lambda m: setattr(m.graph.node[0].attribute[2], "s", b"RO\xa3ND"), ("Quant q", "no text in UTF-8")),
    "signed of 2": (lambda m: setattr(m.graph.node[0].attribute[0], "i", 2), ("Quant q", "signed=2 must be 0 or 1")),
    "attribute of another type": (lambda m: m.graph.node[2].attribute.append(helper.make_attribute("axis", "text")), ("not valid", "axis")),
    "another shape": (lambda m: set_value(m, "w", np.zeros(5)), ("not valid", "y")),
    "another type": (lambda m: constant(m, "w").CopyFrom(numpy_helper.from_array(np.zeros(2, np.int64), "w")), ("not valid", "Mul")),
    "unknown op": (lambda m: setattr(m.graph.node[2], "op_type", "Relv"), ("not valid", "Relv")),
    "huge tensor": (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**40) or set_value(m, "w", np.array(1)),
                    ("elements; up to",)),
    "old opset that cannot be brought up": (lambda m: setattr(m.opset_import[0], "version", 5), ("opset 5 cannot be brought to 18",)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_line(fault: str) -> None:
    broken = model()
    FAULTS[fault][0](broken)
    if fault == "huge tensor":
        broken.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2**40
    with pytest.raises(ModelError) as refused:
        check_model(broken, "net.onnx")
    message = str(refused.value)
    assert message.startswith("net.onnx: ") and "\n" not in message
    for word in FAULTS[fault][1]:
        assert word in message


def test_a_whole_model_gets_the_bodies_it_needs_and_runs() -> None:
    x = np.linspace(-70, 70, 200, dtype=np.float32).reshape(-1, 2)
    whole = check_model(model())
    assert [f.name for f in whole.functions] == ["Quant"]
    expected = np.maximum(np.clip(np.rint(x / 0.5), -128, 127) * 0.5 * [1, 2], 0)
    assert (session(whole, kernels=False).run(None, {"x": x})[0] == expected).all()


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_an_older_opset_is_brought_up_and_answers_the_same(opset: int) -> None:
    old = onnx.parser.parse_model(f"""
        <ir_version: 4, opset_import: ["" : {opset}]>
        g (float[N,2,3] x) => (float[N,3] y) <float[3] b = {{1, 2, 3}}>
        {{ m = ReduceMean <axes = [1], keepdims = 0> (x)
           c = Add (m, b)
           y = Dropout (c) }}""")
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    expected = session(old, kernels=False).run(None, {"x": x})[0]
    new = check_model(old)
    assert new.opset_import[0].version == 18
    assert (session(new, kernels=False).run(None, {"x": x})[0] == expected).all()


def test_a_note_that_is_there_twice_or_of_an_unknown_type_is_dropped() -> None:
    noted = model()
    for name, kind in (("a", 1), ("a", 1), ("y", 1), ("b", 1), ("c", 99)):
        noted.graph.value_info.append(helper.make_tensor_value_info(name, kind, ["N", 2]))
    assert [v.name for v in check_model(noted).graph.value_info] == ["a", "b"]


def test_bodies_of_ours_that_a_file_brings_are_replaced() -> None:
    whole = check_model(model())
    whole.functions[0].node[0].CopyFrom(helper.make_node("Nonsense", [], ["signed"]))
    again = check_model(whole)
    assert "Nonsense" not in {n.op_type for n in again.functions[0].node}


def test_constants_that_an_exporter_lists_as_inputs_are_taken() -> None:
    listed = model()
    listed.graph.input.append(helper.make_tensor_value_info("w", 1, [2]))
    assert check_model(listed)


def test_a_file_is_read_and_checked_under_its_name(tmp_path) -> None:
    broken = model()
    broken.graph.node[1].input[0] = "lost"
    onnx.save(broken, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"net\.onnx: Mul m: its input 'lost'"):
        read_model(tmp_path / "net.onnx")
    assert parse(tmp_path / "net.onnx", "net").graph.node[1].input[0] == "lost"


def test_data_outside_of_the_models_folder_are_not_read(tmp_path) -> None:
    (tmp_path / "secret").write_bytes(np.array([1, 2], np.float32).tobytes())
    (tmp_path / "inside").mkdir()
    for location in ("../secret", str(tmp_path / "secret")):
        spying = model()
        tensor = constant(spying, "w")
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        (tmp_path / "inside" / "net.onnx").write_bytes(spying.SerializeToString())
        with pytest.raises(ModelError):
            read_model(tmp_path / "inside" / "net.onnx")
