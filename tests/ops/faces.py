"""Runs one op through all its software faces: numpy reference, plain onnxruntime, onnxruntime with kernels, qonnx."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_datatypes import InferDataTypes
from qonnx.transformation.infer_shapes import InferShapes

from custom_ops import add_functions
from custom_ops.op import Op
from custom_ops.runtime import session

Arrays = tuple[np.ndarray, ...]


def node_model(op: type[Op], arrays: Arrays, results: Arrays, *, inputs: int, batch: str | None = "N", **attributes) -> ModelProto:
    """A model of one node; its first `inputs` arrays are graph inputs with batch dimension `batch`, the rest constants."""

    def info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
        shape = [batch or array.shape[0], *array.shape[1:]]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)

    names = [f"in{i}" for i in range(len(arrays))]
    outputs = [f"out{i}" for i in range(len(results))]
    copies = [helper.make_node("Identity", [name], [f"{name}_copy"], name=f"{name}_copy") for name in outputs]
    graph = helper.make_graph(
        [helper.make_node(op.__name__, names, outputs, name="node", domain=op.domain, **attributes), *copies],
        op.__name__,
        [info(name, array) for name, array in zip(names[:inputs], arrays)],
        [info(f"{name}_copy", array) for name, array in zip(outputs, results)],
        [numpy_helper.from_array(array, name) for name, array in list(zip(names, arrays))[inputs:]],
    )
    model = add_functions(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    onnx.checker.check_model(model, full_check=True)
    return model


def run_faces(op: type[Op], *arrays: np.ndarray, inputs: int = 1, **attributes) -> dict[str, Arrays]:
    """Face name -> outputs of op(*arrays). The batch (first dimension of the inputs) is dynamic except in qonnx."""
    on_values = {name: value for name, value in attributes.items() if name not in op.folding}
    expected = op.reference(*arrays, **on_values)
    expected = expected if isinstance(expected, tuple) else (expected,)
    feed = {f"in{i}": array for i, array in enumerate(arrays[:inputs])}
    dynamic = node_model(op, arrays, expected, inputs=inputs, **attributes)
    faces = {
        "numpy": expected,
        "onnxruntime": tuple(session(dynamic, kernels=False, threads=1).run(None, feed)),
        "onnxruntime, not optimized": tuple(session(dynamic, kernels=False, threads=1, optimize=False).run(None, feed)),
        "kernels": tuple(session(dynamic, threads=1).run(None, feed)),
    }
    static = ModelWrapper(node_model(op, arrays, expected, inputs=inputs, batch=None, **attributes))
    executed = execute_onnx(static.transform(InferShapes()), feed)
    faces["qonnx"] = tuple(executed[f"out{i}_copy"] for i in range(len(expected)))
    return faces


def assert_faces_agree(op: type[Op], *arrays: np.ndarray, inputs: int = 1, **attributes) -> np.ndarray:
    """All faces give the same bits, types and shapes; returns the (first) result."""
    faces = run_faces(op, *arrays, inputs=inputs, **attributes)
    for face, results in faces.items():
        for got, expected in zip(results, faces["numpy"], strict=True):
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape), face
            wrong = np.flatnonzero(got.ravel() != expected.ravel())
            assert not wrong.size, f"{face}: {wrong.size} of {got.size} differ, first at {wrong[0]}"
    return faces["numpy"][0]


def inferred(op: type[Op], *arrays: np.ndarray, inputs: int = 1, **attributes) -> list[tuple[list, int, str]]:
    """(shape, element type, QONNX datatype) that qonnx infers for each output, batch "N"."""
    results = op.reference(*arrays, **{name: value for name, value in attributes.items() if name not in op.folding})
    results = results if isinstance(results, tuple) else (results,)
    model = ModelWrapper(node_model(op, arrays, results, inputs=inputs, **attributes))
    model = model.transform(InferShapes()).transform(InferDataTypes())
    found = []
    for i in range(len(results)):
        kind = model.get_tensor_valueinfo(f"out{i}").type.tensor_type
        shape = [dimension.dim_param or dimension.dim_value for dimension in kind.shape.dim]
        found.append((shape, kind.elem_type, model.get_tensor_datatype(f"out{i}").name))
    return found


def int8(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-128, 128, shape, dtype=np.int8)


def int32(rng: np.random.Generator, low: int, high: int, *shape: int) -> np.ndarray:
    return rng.integers(low, high, shape, dtype=np.int32)
