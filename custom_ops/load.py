"""A model from a file, or from anyone: read, checked and brought to an opset that our function bodies know.

Models come from strangers. What could hang or kill the process is refused here, before onnxruntime sees it: control flow
and recursion (no end), results whose size only running can tell, tensors beyond `MOST_ELEMENTS`.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import uses_external_data

from custom_ops.functions import DOMAINS, add_functions
from custom_ops.op import OPSET, OpError
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.quant import OP_TYPES

MOST_ELEMENTS = 2**28  # of one tensor, per image; a float tensor of that size takes 1 GiB
KNOWN_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
MOST_BITS = 32  # of a Quant
STANDARD = ("", "ai.onnx")
ONNX_ERRORS = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError)
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", *OP_TYPES)
# Ops whose result may be larger than all that goes in, or is another every time: no pass takes them.
UNBOUNDED = frozenset(
    "Bernoulli CenterCropPad Compress ConcatFromSequence ConstantOfShape Expand EyeLike ImageDecoder Multinomial NonZero OneHot"
    " Optional Pad RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Resize SequenceConstruct SplitToSequence"
    " Tile Unique Upsample".split()
)


class ModelError(ValueError):
    """A model that cannot be opened; the message names the file, the reason and the way out in one line."""


def read_model(path: Path) -> ModelProto:
    """The model in a file, checked (see `check_model`); ModelError where it is missing, no ONNX, truncated or wrong."""
    return check_model(parse(path, str(path)), str(path))


def parse(model: Path | str | bytes, source: str) -> ModelProto:
    """The model in a file or in bytes, as it is written; ModelError where there is none."""
    try:
        proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(str(model))
    except FileNotFoundError as error:
        missing = error.filename or source
        raise ModelError(f"{source}: no file '{missing}'; build the stage first or check the path") from None
    except IsADirectoryError:
        raise ModelError(f"{source}: is a folder; name the .onnx file in it") from None
    except OSError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror}; check its permissions") from None
    except (DecodeError, onnx.checker.ValidationError):
        raise ModelError(f"{source}: not an ONNX model, or truncated; write it again") from None
    if not proto.graph.output:
        raise ModelError(f"{source}: no graph with outputs, so empty or truncated; write it again")
    return proto


def check_model(model: ModelProto, source: str = "model in memory") -> ModelProto:
    """`model`, changed in place: at opset 18 or later, our function bodies attached. Raises ModelError unless it is whole.

    Whole: ONNX's own strict checker takes it, names are unique, constants are complete and hold no NaN, scales are positive, no
    tensor is larger than `MOST_ELEMENTS`, and it runs no one's functions but ours.
    """
    try:
        _check_opsets(model)
        _check_names(model)
        _check_nodes(model)
        _drop_false_notes(model)
        constants = _check_constants(model)
        _check_quantizers(model, constants)
        if _opset(model) < OPSET:
            model.CopyFrom(_upgraded(model))
        add_functions(model)
        inferred = _inferred(model)
        _check_sizes(inferred)
    except (ModelError, OpError) as error:
        raise ModelError(f"{source}: {error}") from None
    return model


def _opset(model: ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD), 0)


def _check_opsets(model: ModelProto) -> None:
    count = Counter("" if entry.domain in STANDARD else entry.domain for entry in model.opset_import)
    for domain, times in count.items():
        if times > 1:
            raise ModelError(f"{times} opset imports of domain '{domain}'; keep one")
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= _opset(model) <= newest:
        raise ModelError(f"opset {_opset(model)} of the standard domain; supported are 1 to {newest}")
    for node in model.graph.node:
        if ("" if node.domain in STANDARD else node.domain) not in count:
            raise ModelError(f"{label(node)}: no opset import of its domain '{node.domain}'; add one to the model")


def _check_names(model: ModelProto) -> None:
    graph = model.graph
    if graph.sparse_initializer:
        raise ModelError(f"sparse constant '{graph.sparse_initializer[0].values.name}'; store it densely")
    makers = Counter(o for n in graph.node for o in n.output if o)
    inputs, constants = Counter(i.name for i in graph.input), Counter(i.name for i in graph.initializer)
    for kind, names in (("tensor", makers), ("input", inputs), ("constant", constants), ("output", Counter(o.name for o in graph.output))):
        for name, times in names.items():
            if times > 1 or not name:
                raise ModelError(f"{kind} '{name}' is there {times} times; give each its own name")
    for name in makers:
        if name in inputs or name in constants:
            raise ModelError(f"tensor '{name}' is made by a node and is an input or a constant as well; rename one")
    known = set(inputs) | set(constants)
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                later = "a node behind it, or by itself; sort the nodes and break cycles" if name in makers else "no node"
                raise ModelError(f"{label(node)}: its input '{name}' is made by {later}")
        known.update(node.output)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"output '{value.name}' is made by no node")
    for value in (*graph.input, *graph.output):
        if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type not in KNOWN_TYPES:
            raise ModelError(f"'{value.name}' is no tensor of a known type")
        if any(d.dim_value < 0 for d in value.type.tensor_type.shape.dim):
            raise ModelError(f"'{value.name}' has a negative dimension")


def _check_nodes(model: ModelProto) -> None:
    for node in model.graph.node:
        if not node.op_type:
            raise ModelError(f"node '{node.name}' has no op type")
        if not any(node.output):
            raise ModelError(f"{label(node)}: gives no result")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ModelError(f"{label(node)}: control flow, which no pass lowers; export the network without it")
        for attribute in node.attribute:
            for text in (attribute.s, *attribute.strings):
                if not _is_text(text):
                    raise ModelError(f"{label(node)}: attribute {attribute.name}={text[:20]!r} is no text in UTF-8")
        if node.domain in QUANT_DOMAINS and node.op_type not in OP_TYPES:
            raise ModelError(f"{label(node)}: supported of QONNX are {' and '.join(OP_TYPES)}; a one-bit number without a zero, a float "
                             "or a truncated one has no integer form here, so quantize to 2 to 8 bits")  # fmt: skip
        if node.domain in STANDARD and node.op_type in UNBOUNDED:
            raise ModelError(f"{label(node)}: its result's size or values are known only by running it; export the network without it")
    for function in model.functions:
        if function.domain not in DOMAINS and (function.domain not in QUANT_DOMAINS or function.name not in OP_TYPES):
            raise ModelError(f"function {function.domain}.{function.name}: functions of others are not run; "
                             "inline them with onnx.inliner.inline_local_functions")  # fmt: skip


def _drop_false_notes(model: ModelProto) -> None:
    """Notes of inputs and outputs, which have theirs already, second notes of a tensor and unknown types go: inference makes them anew."""
    seen = {v.name for v in (*model.graph.input, *model.graph.output)}
    for value in list(model.graph.value_info):
        if value.name in seen or value.type.tensor_type.elem_type not in KNOWN_TYPES:
            model.graph.value_info.remove(value)
        seen.add(value.name)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_constants(model: ModelProto) -> dict[str, np.ndarray]:
    """The values of initializers and Constant nodes by tensor, each complete."""
    tensors = [(i.name, i) for i in model.graph.initializer]
    for node in model.graph.node:
        tensors += [(node.output[0], a.t) for a in node.attribute if node.op_type == "Constant" and a.name == "value" and a.HasField("t")]
    values = {}
    for name, tensor in tensors:
        if uses_external_data(tensor):
            raise ModelError(f"constant '{name}' lies in a file that was not found; keep it beside the model")
        if any(d < 0 for d in tensor.dims) or math.prod(tensor.dims) > MOST_ELEMENTS:
            raise ModelError(f"constant '{name}' of shape {list(tensor.dims)}: up to {MOST_ELEMENTS} elements are supported")
        try:
            value = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, IndexError):
            raise ModelError(f"constant '{name}' of shape {list(tensor.dims)}: its data are of another size or type") from None
        if value.dtype.kind == "f" and np.isnan(value).any():
            raise ModelError(f"constant '{name}' holds NaN; train it again")
        if not value.size and value.ndim != 1:
            raise ModelError(f"constant '{name}' of shape {list(tensor.dims)} is empty")
        values[name] = value
    return values


def _check_quantizers(model: ModelProto, constants: dict[str, np.ndarray]) -> None:
    for node in model.graph.node:
        scale = constants.get(node.input[1]) if node.op_type in QUANTIZERS and len(node.input) > 1 else None
        if scale is not None and not (scale.size and np.all(np.isfinite(scale)) and np.all(scale > 0)):
            wrong = scale[~(np.isfinite(scale) & (scale > 0))].ravel()[:1].tolist()
            raise ModelError(f"{label(node)}: scale {wrong}; scales are positive and finite")
        bits = constants.get(node.input[3]) if node.op_type in OP_TYPES and len(node.input) > 3 else None
        if bits is not None and not (bits.size == 1 and float(bits.ravel()[0]) in range(1, MOST_BITS + 1)):
            raise ModelError(f"{label(node)}: a bit width of {bits.ravel()[:1].tolist()}; supported is one of 1..{MOST_BITS}")


def _upgraded(model: ModelProto) -> ModelProto:
    version = _opset(model)
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (onnx.version_converter.ConvertError, *ONNX_ERRORS) as error:
        raise ModelError(f"opset {version} cannot be brought to {OPSET}: {_one_line(error)}; export it with opset {OPSET}") from None


def _inferred(model: ModelProto) -> ModelProto:
    """A copy with the shapes that inference gives, after ONNX's own checks."""
    try:
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except ONNX_ERRORS as error:
        raise ModelError(f"not valid: {_one_line(error)}") from None


def _check_sizes(model: ModelProto) -> None:
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim if d.HasField("dim_value")]
        if math.prod(dims) > MOST_ELEMENTS:
            raise ModelError(f"tensor '{value.name}' of {math.prod(dims)} elements; up to {MOST_ELEMENTS} are supported")
        if 0 in dims:
            raise ModelError(f"tensor '{value.name}' is empty: a dimension of 0")


def label(node: NodeProto) -> str:
    """`MatMul fc_matmul`, for messages."""
    name = node.name or next(iter(node.output), "")
    return f"{node.domain}.{node.op_type} {name}" if node.domain else f"{node.op_type} {name}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
