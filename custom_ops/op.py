"""What every op of ours has: a name, inputs, attributes with defaults, a numpy reference, an ONNX body.

An op is a class (a qonnx `CustomOp`) that names its `reference` and its `body`; the rest follows from them:
qonnx executes the reference, plain onnxruntime runs the body, shape inference walks through the body.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto
from qonnx.core.datatype import DataType
from qonnx.custom_op.base import CustomOp

DOMAIN = "psaflow"
HW_DOMAIN = "psaflow.hw"
VERSION = 1
OPSET = 18  # the oldest opset of the standard domain that the bodies are written for

MOST_SHIFT = 31  # of a requantization

INT8, UINT8, INT32 = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32
FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE

Attribute = int | float | str
ATTRIBUTE_TYPES = {int: ("i", "int"), float: ("f", "float"), str: ("s", "string")}  # in qonnx, in ONNX text


class OpError(ValueError):
    """A node that breaks its op's rules; the message names the node, the value, the rule and the way out."""


class Op(CustomOp):
    """Base of all ops of domain psaflow. A subclass fills the class attributes below.

    reference(*inputs, **attributes) gets numpy arrays in the order of `inputs`, and `attributes`.
    """

    domain: ClassVar[str] = DOMAIN
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]] = ("y",)
    types: ClassVar[Mapping[str, tuple[int, ...]]]  # input -> the element types it may have
    required_inputs: ClassVar[int | None] = None  # None: all of `inputs`
    attributes: ClassVar[Mapping[str, Attribute]] = {}  # name -> default
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # name -> the values a string attribute may take
    per_channel: ClassVar[bool] = False  # y[..., c] depends on x[..., c] and row c of the parameters only; c runs along `axis`, or last
    folding: ClassVar[Mapping[str, int]] = {}  # attributes of the hardware that never change a value
    body: ClassVar[str]
    overloads: ClassVar[Mapping[str, tuple[tuple[str, ...], str]]] = {}  # overload -> (its inputs, its body)
    reference: ClassVar[Callable[..., np.ndarray | tuple[np.ndarray, ...]]]

    @classmethod
    def function(cls, overload: str = "", opset: int = OPSET) -> FunctionProto:
        """The op's function body (of one overload) for a model whose standard domain is at `opset`."""
        inputs, body = cls.overloads[overload] if overload else (cls.inputs, cls.body)
        defaults = ", ".join(
            f"{name}: {ATTRIBUTE_TYPES[type(value)][1]} = {_literal(value)}" for name, value in {**cls.attributes, **cls.folding}.items()
        )
        header = f'domain: "{cls.domain}", opset_import: ["" : {opset}, "{DOMAIN}" : {VERSION}]'
        if overload:
            header += f', overload: "{overload}"'
        return onnx.parser.parse_function(
            f"<{header}> {cls.__name__} {f'<{defaults}>' if defaults else ''}"
            f" ({', '.join(inputs)}) => ({', '.join(cls.outputs)}) {{ {body} }}"
        )

    @classmethod
    def overload_of(cls, node: NodeProto) -> str:
        """The name of the body that computes `node`; "" for an op with one body."""
        return ""

    def get_nodeattr_types(self) -> dict[str, tuple]:
        types: dict[str, tuple] = {}
        for name, default in {**self.attributes, **self.folding}.items():
            kind = (ATTRIBUTE_TYPES[type(default)][0], False, default)
            types[name] = (*kind, set(self.choices[name])) if name in self.choices else kind
        return types

    def values(self) -> dict[str, Attribute]:
        """The attributes that change a value, as given by the node or by default."""
        return {name: self.get_nodeattr(name) for name in self.attributes}

    @property
    def label(self) -> str:
        """`MatVec matvec_3`, for messages."""
        return f"{self.onnx_node.op_type} {self.onnx_node.name or self.onnx_node.output[0]}"

    def verify_node(self) -> None:
        """Raises OpError if the node's inputs, outputs or attributes do not fit the op's schema."""
        node = self.onnx_node
        required = len(self.inputs) if self.required_inputs is None else self.required_inputs
        if not required <= len(node.input) <= len(self.inputs) or "" in list(node.input)[:required]:
            raise OpError(f"{self.label}: {len(node.input)} inputs; give {', '.join(self.inputs)}")
        if len(node.output) != len(self.outputs):
            raise OpError(f"{self.label}: {len(node.output)} outputs; give {', '.join(self.outputs)}")
        known = {**self.attributes, **self.folding}
        for attribute in node.attribute:
            name = attribute.name
            if name not in known:
                raise OpError(f"{self.label}: no attribute '{name}'{suggestion(name, known)}")
            value = onnx.helper.get_attribute_value(attribute)
            value = value.decode() if isinstance(value, bytes) else value
            if type(value) is not type(known[name]):
                raise OpError(f"{self.label}: {name}={value!r} must be {ATTRIBUTE_TYPES[type(known[name])][1]}")
            if name in self.choices and value not in self.choices[name]:
                raise OpError(f"{self.label}: {name}={value} must be {' or '.join(self.choices[name])}")

    def verify_tensors(self, elements: Mapping[str, int], constants: Mapping[str, TensorProto]) -> None:
        """Raises OpError if a tensor breaks the op's rules; takes known element types and initializers, by name."""
        for role, tensor in zip(self.inputs, self.onnx_node.input, strict=False):
            element = elements.get(tensor, TensorProto.UNDEFINED)
            if element != TensorProto.UNDEFINED and element not in self.types[role]:
                allowed = " or ".join(map(TensorProto.DataType.Name, self.types[role]))
                name = TensorProto.DataType.Name(element)
                raise OpError(f"{self.label}: {role} '{tensor}' is {name}, must be {allowed}")
            if role == "shift" and tensor in constants:
                shift = onnx.numpy_helper.to_array(constants[tensor])
                if shift.size and not 0 <= shift.min() <= shift.max() <= MOST_SHIFT:
                    raise OpError(f"{self.label}: shifts {shift.min()}..{shift.max()} must be in 0..{MOST_SHIFT}")

    def make_shape_compatible_op(self, model) -> NodeProto:
        """The node itself: its body, attached to the model if it is not there yet, is its shape rule."""
        from custom_ops.functions import attach_missing  # functions.py lists the ops, so it imports them

        attach_missing(model.model, self.onnx_node)
        node = NodeProto()
        node.CopyFrom(self.onnx_node)
        return node

    def infer_node_datatype(self, model) -> None:
        """INT8, as all integer ops of ours give unless they say otherwise."""
        model.set_tensor_datatype(self.onnx_node.output[0], DataType["INT8"])

    def execute_node(self, context: dict[str, np.ndarray], graph: GraphProto) -> None:
        """Runs the reference on the tensors in `context`."""
        arrays = [context[name] if name else None for name in self.onnx_node.input]
        results = type(self).reference(*arrays, **self.values())
        results = results if isinstance(results, tuple) else (results,)
        context.update(zip(self.onnx_node.output, results, strict=True))


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """`; did you mean 'rounding'?` if a known name is close, else the list of known names."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _literal(value: Attribute) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
