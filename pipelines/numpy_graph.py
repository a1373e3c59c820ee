"""The integer graph in numpy alone, node by node by the ops' references: slow, short, and compared with everything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from custom_ops import DOMAINS
from pipelines.console import UserError

WIDE = {TensorProto.INT32: np.int32, TensorProto.INT64: np.int64, TensorProto.INT8: np.int8}


def reference_of(model: ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images [n, H, W, 3], or what else the graph takes, to its output; UserError for an op of no integer graph."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    steps = [(node, _step(node)) for node in model.graph.node]
    source, target = model.graph.input[0].name, model.graph.output[0].name

    def run(images: np.ndarray) -> np.ndarray:
        tensors = {**constants, source: images, "": None}
        for node, step in steps:
            tensors[node.output[0]] = step(*(tensors[i] for i in node.input))  # type: ignore[assignment]
        return np.asarray(tensors[target])

    return run


def _limits(code: np.ndarray) -> tuple[int, int]:
    return np.iinfo(code.dtype).min, np.iinfo(code.dtype).max


def _step(node: NodeProto) -> Callable[..., np.ndarray]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attributes = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
    op = DOMAINS.get(node.domain, {}).get(node.op_type)
    if op is not None:
        kept = {name: value for name, value in attributes.items() if name in op.attributes}
        return lambda *inputs: op.reference(*inputs, **kept)  # type: ignore[return-value]
    standard: dict[str, Callable[..., np.ndarray]] = {
        "QuantizeLinear": lambda x, scale, zero: np.clip(np.rint(x / scale) + zero, *_limits(zero)).astype(zero.dtype),
        "Clip": lambda x, low=None, high=None: np.clip(x, low, high),
        "MatMulInteger": lambda a, b: np.matmul(a.astype(np.int32), b.astype(np.int32)),
        "Cast": lambda x: x.astype(WIDE[attributes["to"]]),
        "Add": np.add,
        "Mul": np.multiply,
        "Reshape": lambda x, shape: x.reshape(shape if attributes.get("allowzero") else [n or x.shape[i] for i, n in enumerate(shape)]),
        "Transpose": lambda x: x.transpose(attributes["perm"]),
        "ReduceSum": lambda x, axes: x.sum(tuple(axes), keepdims=bool(attributes.get("keepdims", 1)), dtype=x.dtype),
        "Identity": lambda x: x,
        "Squeeze": lambda x, axes: x.squeeze(tuple(axes)),
        "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)),
        "Flatten": lambda x: x.reshape(int(np.prod(x.shape[: attributes.get("axis", 1)])), -1),
    }
    if node.domain or node.op_type not in standard:
        raise UserError(f"{node.name or node.output[0]}: {node.domain}{'.' if node.domain else ''}{node.op_type} has no numpy form here")
    return standard[node.op_type]
