"""What the rewrites to FINN share: making a node of FINN, its shapes, new streams and constants with their datatypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper
from qonnx.core.datatype import BaseDataType, DataType

from custom_ops.datatypes import accumulator_range, integer_datatype, signed_bits
from passes.graph import Graph, PassRefusal, attribute

DOMAIN = "finn.custom_op.fpgadataflow"
EXACT = 2**24  # FINN carries integers in float32, exactly up to here


def finn_node(op_type: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> NodeProto:
    """A node of FINN's dataflow domain, not yet HLS or RTL."""
    return helper.make_node(op_type, inputs, outputs, name=name, domain=DOMAIN, backend="fpgadataflow", **attributes)


def stream_shape(shape: Sequence[int]) -> list[int]:
    """FINN's shape of a stream: one image, tokens as rows of width 1: [N, T, C] -> [1, T, 1, C], [N, H, W, C] -> [1, H, W, C]."""
    if len(shape) not in (3, 4):
        raise PassRefusal(f"a stream of shape {list(shape)}; FINN's are images [N, H, W, C] or tokens [N, T, C]")
    return [1, shape[1], 1, shape[2]] if len(shape) == 3 else [1, *shape[1:]]


def vectors(graph: Graph, tensor: str) -> list[int]:
    """FINN's numInputVectors of a stream: its shape without the channels."""
    return stream_shape(graph.shape(tensor))[:-1]


def datatype(graph: Graph, tensor: str) -> BaseDataType:
    """The QONNX datatype of a tensor; a refusal where none is noted."""
    found = graph.model.get_tensor_datatype(tensor)
    if found is None or not found.is_integer():
        raise PassRefusal(f"{tensor}: is {found.name if found is not None else 'of no datatype'}; FINN's streams here are integers")
    return found


def new_stream(graph: Graph, wanted: str, like: str, kind: BaseDataType) -> str:
    """A new tensor of the shape of `like` and of datatype `kind`."""
    name = graph.new_name(wanted)
    graph.proto.value_info.append(helper.make_tensor_value_info(name, TensorProto.INT32, [d or None for d in graph.shape(like)]))
    graph.model.set_tensor_datatype(name, kind)
    return name


def new_constant(graph: Graph, wanted: str, value: np.ndarray, kind: str) -> str:
    """A new initializer of a datatype."""
    name = graph.add_constant(wanted, value)
    graph.model.set_tensor_datatype(name, DataType[kind])
    return name


def accumulator(name: str, weight: np.ndarray, bias: np.ndarray | int = 0) -> BaseDataType:
    """The datatype of `weight` [rows, columns] @ int8 + `bias`; a refusal where float32 does not hold it."""
    low, high = accumulator_range(weight, bias)
    if max(-low, high) >= EXACT:
        raise PassRefusal(f"{name}: its accumulator reaches {low}..{high}, beyond the 24 bits that FINN's float32 tensors carry exactly")
    return integer_datatype(min(low, -1), high)


def psa_requant(graph: Graph, source: str, target: str, name: str, bias: np.ndarray, shift: np.ndarray, like: NodeProto, *,
                mult: np.ndarray | int = 1) -> NodeProto:  # fmt: skip
    """PSARequant of the stream `source` to `target`: parameters [C] or [1]; rounding, lo and hi of the node `like`."""
    channels = graph.shape(target)[-1]
    values = [np.broadcast_to(np.asarray(v, np.int32).ravel(), (channels,)) for v in (mult, bias, shift)]
    roles = zip(("mult", "bias", "shift"), values, strict=True)
    constants = [new_constant(graph, f"{name}_{role}", value, "INT32") for role, value in roles]
    return finn_node("PSARequant", [source, *constants], [target], name, NumChannels=channels, PE=1, numInputVectors=vectors(graph, target),
                     inputDataType=datatype(graph, source).name, multBits=0 if np.all(values[0] == 1) else bits_of(values[0]),
                     **parameter_bits(values[1], values[2]), **requant_attributes(like))  # fmt: skip


def requant_attributes(node: NodeProto) -> dict[str, Any]:
    """How a hardware node rounds and clips."""
    return {name: attribute(node, name, default) for name, default in (("rounding", "HALF_EVEN"), ("lo", -128), ("hi", 127))}


def parameter_bits(bias: np.ndarray, shift: np.ndarray) -> dict[str, int]:
    """biasBits and shiftBits: a module stores the bias and the shift's distance from the smallest shift."""
    return {"biasBits": bits_of(bias), "shiftBits": max(int(shift.max() - shift.min()).bit_length(), 1)}


def bits_of(values: np.ndarray) -> int:
    """Bits of the narrowest two's complement number that holds all values."""
    return signed_bits(int(values.min()), int(values.max()))
