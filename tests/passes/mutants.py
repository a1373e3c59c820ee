"""Mutations of a model, as accidents and strangers make them: each changes one thing, chosen by a seeded generator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Rng = np.random.Generator
OPS = (
    "Relu Sigmoid Softmax Transpose MatMul Gemm Add Mul Div Sub Identity Reshape Flatten ReduceMean ReduceMax Concat Split Loop If NonZero"
    " QuantizeLinear DequantizeLinear Clip Cast Gather Expand Tile Range ConstantOfShape TopK BatchNormalization Quant ChannelLUT Requant"
    " MatMulInteger BipolarQuant Trunc Gelu Conv Nonsense LayerNormalization Exp Log Sqrt Where Dropout".split()
)
TYPES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 20, 21, 22, 99)
SCALES = (float("nan"), -0.5, 0.0, float("inf"), 1e-38, 1e38, 3.0, 0.7)
NUMBERS = (-(2**40), -129, -3, -2, -1, 0, 1, 2, 3, 4, 7, 127, 128, 255, 2**31, 2**40)


def _node(model: ModelProto, rng: Rng) -> NodeProto:
    return model.graph.node[rng.integers(len(model.graph.node))]


def _constant(model: ModelProto, rng: Rng) -> TensorProto:
    return model.graph.initializer[rng.integers(len(model.graph.initializer))]


def _tensors(model: ModelProto) -> list[str]:
    graph = model.graph
    return [*(i.name for i in graph.input), *(i.name for i in graph.initializer), *(o for n in graph.node for o in n.output)]


def drop_edge(model: ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    at = rng.integers(len(node.input) + 1) - 1
    if at >= 0 and rng.random() < 0.5:
        node.input[at] = ""
    elif node.input:
        del node.input[at]


def rewire(model: ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    if node.input:
        node.input[rng.integers(len(node.input))] = str(rng.choice([*_tensors(model), "nobody"]))


def add_edge(model: ModelProto, rng: Rng) -> None:
    _node(model, rng).input.append(str(rng.choice(_tensors(model))))


def swap_inputs(model: ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    node.input[:] = [node.input[i] for i in rng.permutation(len(node.input))]


def wrong_type(model: ModelProto, rng: Rng) -> None:
    kind = int(rng.choice(TYPES))
    choice = rng.integers(3)
    if choice == 0:
        _constant(model, rng).data_type = kind
    else:
        values = [*model.graph.input, *model.graph.output] if choice == 1 else list(model.graph.value_info) or list(model.graph.input)
        values[rng.integers(len(values))].type.tensor_type.elem_type = kind


def other_type(model: ModelProto, rng: Rng) -> None:
    """A constant's values in another type, as a careful exporter would write them."""
    tensor = _constant(model, rng)
    kind = rng.choice([np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64, np.float16, np.bool_])
    with np.errstate(all="ignore"):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))


def reorder(model: ModelProto, rng: Rng) -> None:
    nodes = [NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    if rng.random() < 0.5:
        order = rng.permutation(len(nodes))
    else:
        order = np.arange(len(nodes))
        a, b = rng.integers(len(nodes), size=2)
        order[a], order[b] = order[b], order[a]
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in order)


def dangle(model: ModelProto, rng: Rng) -> None:
    if rng.random() < 0.5:
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=3).astype(np.float32), "dangling"))
    else:
        del model.graph.initializer[rng.integers(len(model.graph.initializer))]


def cycle(model: ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    later = _node(model, rng)
    if node.input and later.output:
        node.input[0] = later.output[0]


def wrong_shape(model: ModelProto, rng: Rng) -> None:
    if rng.random() < 0.6:
        dims = _constant(model, rng).dims
        change = rng.integers(4)
        if change == 0 or not dims:
            dims.append(int(rng.choice(NUMBERS)))
        elif change == 1:
            dims[rng.integers(len(dims))] = int(rng.choice(NUMBERS))
        elif change == 2:
            dims[:] = dims[::-1]
        else:
            dims.insert(0, 1)
    else:
        _dimension(model, rng, int(rng.choice(NUMBERS)))


def reshaped(model: ModelProto, rng: Rng) -> None:
    """A constant whole, but transposed, flat, doubled or cut."""
    tensor = _constant(model, rng)
    value = numpy_helper.to_array(tensor)
    forms: list[Callable[[], np.ndarray]] = [
        lambda: value.T, value.ravel, lambda: np.stack([value, value]), lambda: value.reshape((1, *value.shape)),
        lambda: value[:1] if value.ndim else value, lambda: value[:0] if value.ndim else value,
    ]  # fmt: skip
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(forms[rng.integers(len(forms))]()), tensor.name))


def huge(model: ModelProto, rng: Rng) -> None:
    size = int(rng.choice([2**20, 2**31, 2**40, 2**62]))
    choice = rng.integers(3)
    if choice == 0:
        _dimension(model, rng, size)
    elif choice == 1:
        model.graph.initializer.append(TensorProto(name="huge", data_type=1, dims=[size, size]))
        node = _node(model, rng)
        if node.input:
            node.input[rng.integers(len(node.input))] = "huge"
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array([size], np.int64), "size"))
        node = _node(model, rng)
        kind = str(rng.choice(["ConstantOfShape", "Expand", "Tile", "Reshape"]))
        if node.output:
            old = node.output[0]
            node.output[0] += "_small"
            inputs = ["size"] if kind == "ConstantOfShape" else [node.output[0], "size"]
            at = list(model.graph.node).index(node)
            model.graph.node.insert(at + 1, helper.make_node(kind, inputs, [old]))


def _dimension(model: ModelProto, rng: Rng, size: int) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    dims = values[rng.integers(len(values))].type.tensor_type.shape.dim
    if dims:
        dims[rng.integers(len(dims))].dim_value = size


def duplicate_name(model: ModelProto, rng: Rng) -> None:
    graph = model.graph
    choice = rng.integers(4)
    if choice == 0:
        node = _node(model, rng)
        if node.output:
            node.output[0] = str(rng.choice(_tensors(model)))
    elif choice == 1:
        graph.initializer.append(_constant(model, rng))
    elif choice == 2:
        graph.initializer[rng.integers(len(graph.initializer))].name = str(rng.choice(_tensors(model)))
    else:
        for node in graph.node:
            node.name = "same"


def opsets(model: ModelProto, rng: Rng) -> None:
    choice = rng.integers(4)
    entry = model.opset_import[rng.integers(len(model.opset_import))] if model.opset_import else model.opset_import.add()
    if choice == 0:
        model.opset_import.remove(entry)
    elif choice == 1:
        entry.version = int(rng.choice([-1, 0, 1, 7, 9, 11, 13, 17, 19, 21, 23, 99]))
    elif choice == 2:
        model.opset_import.append(entry)
    else:
        model.ir_version = int(rng.choice([0, 1, 3, 4, 7, 8, 99]))


def bad_scale(model: ModelProto, rng: Rng) -> None:
    floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    if floats:
        tensor = floats[rng.integers(len(floats))]
        value = numpy_helper.to_array(tensor).copy()
        flat = value.reshape(-1)
        if flat.size:
            flat[rng.integers(flat.size)] = rng.choice(SCALES)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def other_value(model: ModelProto, rng: Rng) -> None:
    """One number of a constant of any type: a weight, a zero point, a bit width, an axis, a shape."""
    tensor = _constant(model, rng)
    value = numpy_helper.to_array(tensor).copy()
    if value.size and value.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            value.reshape(-1)[rng.integers(value.size)] = np.array(rng.choice(NUMBERS), np.float64).astype(value.dtype)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def attribute(model: ModelProto, rng: Rng) -> None:
    nodes = [n for n in model.graph.node if n.attribute]
    node = nodes[rng.integers(len(nodes))] if nodes and rng.random() < 0.8 else _node(model, rng)
    values = [int(rng.choice(NUMBERS)), float(rng.choice(SCALES)), "text", [0, 2, 1], [1.5], ["a"], [3, -7]]
    value = values[rng.integers(len(values))]
    if node.attribute and rng.random() < 0.8:
        found = node.attribute[rng.integers(len(node.attribute))]
        choice = rng.integers(3)
        if choice == 0:
            node.attribute.remove(found)
        elif choice == 1:
            found.type = int(rng.choice(list(AttributeProto.AttributeType.values())))
        else:
            name = found.name
            found.CopyFrom(helper.make_attribute(name, value))
    else:
        names = ["axis", "perm", "to", "alpha", "transA", "rounding_mode", "signed", "lo", "lowest", "keepdims", "block_size", "fast"]
        node.attribute.append(helper.make_attribute(str(rng.choice(names)), value))


def other_op(model: ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    node.op_type = str(rng.choice(OPS))
    if rng.random() < 0.3:
        node.domain = str(rng.choice(["", "psaflow", "psaflow.hw", "qonnx.custom_op.general", "com.microsoft", "strange"]))


def drop_node(model: ModelProto, rng: Rng) -> None:
    del model.graph.node[rng.integers(len(model.graph.node))]


def bypass_node(model: ModelProto, rng: Rng) -> None:
    """A node goes, and its readers read its first input."""
    node = _node(model, rng)
    if node.input and node.output:
        old, new = node.output[0], node.input[0]
        model.graph.node.remove(node)
        for other in model.graph.node:
            other.input[:] = [new if i == old else i for i in other.input]


def insert_node(model: ModelProto, rng: Rng) -> None:
    """Something harmless or not behind a node's result."""
    at = int(rng.integers(len(model.graph.node)))
    node = model.graph.node[at]
    if node.output:
        kind = str(rng.choice(["Identity", "Relu", "Neg", "Transpose", "Flatten", "Softmax", "Dropout", "Sigmoid", "Cast", "Unsqueeze"]))
        old = node.output[0]
        node.output[0] += "_inner"
        model.graph.node.insert(at + 1, helper.make_node(kind, [node.output[0]], [old], **({"to": 1} if kind == "Cast" else {})))


def outputs(model: ModelProto, rng: Rng) -> None:
    graph = model.graph
    choice = rng.integers(4)
    if choice == 0:
        del graph.output[:]
    elif choice == 1:
        graph.output[0].name = str(rng.choice(_tensors(model)))
    elif choice == 2:
        graph.output.append(graph.output[0])
    else:
        graph.input.append(helper.make_tensor_value_info("second", 1, [1]))


def metadata(model: ModelProto, rng: Rng) -> None:
    """What our own passes note in a model, made up by someone else."""
    key = str(rng.choice(["logits_scale", "requantization_errors", "boundary_entries"]))
    entry = next((p for p in model.metadata_props if p.key == key), None) or model.metadata_props.add()
    entry.key, entry.value = key, str(rng.choice(["", "x", "nan", "-1", "1e999", "0", "{}", "[1]", '{"a": 3}', '{"a": [1, "b"]}']))


MUTATIONS: tuple[Callable[[ModelProto, Rng], None], ...] = (
    drop_edge, rewire, add_edge, swap_inputs, wrong_type, other_type, reorder, dangle, cycle, wrong_shape, reshaped, huge, duplicate_name,
    opsets, bad_scale, other_value, attribute, other_op, drop_node, bypass_node, insert_node, outputs, metadata,
)  # fmt: skip


def mutant(original: bytes, seed: int) -> tuple[str, bytes]:
    """(what was done, the file) of one or two mutations of a model; the last kind damages the file itself."""
    rng = np.random.default_rng(seed)
    kind = seed % (len(MUTATIONS) + 1)
    if kind == len(MUTATIONS):
        data = bytearray(original)
        if rng.random() < 0.5:
            return "cut", bytes(data[: rng.integers(len(data))])
        for at in rng.integers(len(data), size=rng.integers(1, 6)):
            data[at] = rng.integers(256)
        return "bytes", bytes(data)
    model = ModelProto.FromString(original)
    chosen = [MUTATIONS[kind]] + ([MUTATIONS[rng.integers(len(MUTATIONS))]] if rng.random() < 0.25 else [])
    for mutate in chosen:
        if model.graph.node and model.graph.initializer:
            with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):  # what is broken already cannot be read to break it further
                mutate(model, rng)
    return " + ".join(m.__name__ for m in chosen), model.SerializeToString()
