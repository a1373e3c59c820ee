"""Tiny graphs as ONNX text: parse them, run passes on them, compare what came out by structure and by value."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import add_functions
from custom_ops.runtime import session
from passes.annotate import InferShapes
from passes.explain import rounded_otherwise
from passes.graph import PassRefusal
from passes.scaling import errors_of

HEADER = '<ir_version: 10, opset_import: ["" : 18, "psaflow" : 1, "psaflow.hw" : 1, "qonnx.custom_op.general" : 1]>'
LONGEST = 64  # elements of a constant that a listing shows in full


def parse(text: str, *, shapes: bool = True) -> ModelProto:
    """`g (inputs) => (outputs) <constants> { nodes }` in ONNX text -> a checked model; a node is named like its output.

    With `shapes`, every tensor has its shape and every op of ours its body.
    """
    model = onnx.parser.parse_model(f"{HEADER}\n{text}")
    for node in model.graph.node:
        node.name = node.name or node.output[0]
    if shapes:
        model = InferShapes().apply(ModelWrapper(model))[0].model
        onnx.checker.check_model(model)
    return model


def apply(model: ModelProto, *passes: Transformation) -> ModelProto:
    """A copy of `model` after `passes`, each repeated until it changes nothing."""
    wrapper = ModelWrapper(model, make_deepcopy=True)
    for step in passes:
        wrapper = wrapper.transform(step, cleanup=False)
    return wrapper.model


def listing(model: ModelProto) -> list[str]:
    """One line per node, constants written out, tensors numbered from the outputs up: the same for any tensor names."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    makers = {o: n for n in model.graph.node for o in n.output}
    numbers: dict[str, str] = {}
    count = itertools.count()
    lines: list[str] = []

    def name(tensor: str) -> str:
        if tensor in constants:
            return _constant(constants[tensor])
        if tensor not in makers:
            return tensor or "-"
        if tensor not in numbers:
            node = makers[tensor]
            inputs = ", ".join(name(i) for i in node.input)
            for output in node.output:
                numbers[output] = f"%{next(count)}"
            results = ", ".join(numbers[o] for o in node.output)
            lines.append(f"{results} = {node.domain}{'.' if node.domain else ''}{node.op_type}{_attributes(node)}({inputs})")
        return numbers[tensor]

    for output in model.graph.output:
        lines.append(f"{output.name} = {name(output.name)}")
    unused = len(model.graph.node) - len({id(makers[t]) for t in numbers})
    return [*lines, f"{unused} nodes unused"]


def assert_same(actual: ModelProto, expected: ModelProto | str) -> None:
    """Op types, wiring, attributes and constants are the same; names of inner tensors do not matter."""
    assert listing(actual) == listing(parse(expected, shapes=False) if isinstance(expected, str) else expected)


def assert_untouched(model: ModelProto, *passes: Transformation) -> None:
    """The passes find nothing to do, and do nothing."""
    assert listing(apply(model, *passes)) == listing(model)


def refusal(model: ModelProto, *passes: Transformation) -> str:
    """The one line with which the passes refuse `model`."""
    with pytest.raises(PassRefusal) as caught:
        apply(model, *passes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def run(model: ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    """The outputs of `model` in plain onnxruntime, every node as written."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return session(add_functions(copy), kernels=False, threads=1, optimize=False).run(None, feeds)


def assert_equal_values(before: ModelProto, after: ModelProto, **feeds: np.ndarray) -> None:
    """Both models give the same numbers, every element of every output."""
    for old, new in zip(run(before, **feeds), run(after, **feeds), strict=True):
        assert old.shape == new.shape
        assert (old == new).all()


def assert_within_bounds(before: ModelProto, after: ModelProto, x: np.ndarray) -> None:
    """`after` rounds at least one ratio of scales, and each of its tensors is as far from `before`'s as it says, or nearer."""
    bounds = errors_of(after)
    assert bounds
    rounded_otherwise(before, after, bounds, x)


def every_code(*shape: int, kind: type = np.int8) -> np.ndarray:
    """[256, *shape]: image i holds the i-th code everywhere."""
    low = np.iinfo(kind).min
    codes = np.arange(low, low + 256).astype(kind)
    return np.ascontiguousarray(np.broadcast_to(codes.reshape(256, *[1] * len(shape)), (256, *shape)))


def every_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two int8 arrays [65536] that together hold every pair of codes."""
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    return a.ravel().astype(np.int8), b.ravel().astype(np.int8)


def constant(model: ModelProto, tensor: str) -> np.ndarray:
    """The value of an initializer."""
    return numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == tensor))


def node(model: ModelProto, op_type: str) -> NodeProto:
    """The only node of a type."""
    found = [n for n in model.graph.node if n.op_type == op_type]
    assert len(found) == 1, f"{len(found)} nodes of type {op_type}"
    return found[0]


def attributes(node: NodeProto) -> dict[str, object]:
    """A node's attributes; strings as str."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}


def _attributes(node: NodeProto) -> str:
    parts = []
    for name, value in sorted(attributes(node).items()):
        shown = _constant(numpy_helper.to_array(value)) if isinstance(value, onnx.TensorProto) else repr(value)
        parts.append(f"{name}={shown}")
    return f"<{', '.join(parts)}>" if parts else ""


def _constant(value: np.ndarray) -> str:
    shown = value.tolist() if value.size <= LONGEST else f"crc {zlib.crc32(np.ascontiguousarray(value).tobytes())}"
    return f"{value.dtype}{list(value.shape)}{{{shown}}}"
