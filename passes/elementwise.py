"""Which nodes are element-wise: proven from the standard's scalar functions and from function bodies, not from a list of activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, defs, helper

from passes.graph import attribute

STANDARD = ("", "ai.onnx")
DEEPEST = 16  # calls inside calls; a body that calls itself is refused

# What ONNX specifies for one element at a time, with broadcasting, and gives no function body for: arithmetic, comparisons,
# logic, rounding, elementary functions. Every activation is made of these, in its body or in the graph. Random ops, ops with a
# state, and all that reads a neighbour, a sum or a position are not among them, so nothing made of those is element-wise.
PRIMITIVES = frozenset(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Cos Cosh Div Equal Erf"
    " Exp Floor Greater Identity IsInf IsNaN Less Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sigmoid Sign Sin Sinh Sqrt"
    " Sub Sum Tan Tanh Where Xor".split()
)


def is_elementwise(node: NodeProto, model: ModelProto) -> bool:
    """Whether each element of the result depends, by the standard, on the elements at its own place in the (broadcast) inputs only.

    A node with a function body, of the standard, of ours, or of the model's own, is what its body is: all of it must be
    element-wise, and its constants single values. Anything else is not, whatever it may compute.
    """
    return _elementwise(node, model.functions, opset_of(model), DEEPEST)


def _elementwise(node: NodeProto, functions: Sequence[FunctionProto], opset: int, depth: int) -> bool:
    if len(node.output) != 1:
        return False
    if node.domain in STANDARD and node.op_type in PRIMITIVES:
        return True
    body = _body(node, functions, opset) if depth else None
    if body is None or not body.output or not {o for n in body.node for o in n.output}.issuperset(body.output):
        return False  # also where the standard cannot build the body of such a call
    return all(_single_value(n) or _elementwise(n, functions, opset, depth - 1) for n in body.node)


def _single_value(node: NodeProto) -> bool:
    """Whether a node of a body is a Constant of one element; an attribute of the call counts as one."""
    if node.op_type != "Constant" or node.domain not in STANDARD:
        return False
    (only,) = node.attribute or (None,)
    if only is None or only.name not in ("value", "value_float", "value_int"):
        return False
    value = attribute(node, "value")
    return not isinstance(value, TensorProto) or all(d == 1 for d in value.dims)


def _body(node: NodeProto, functions: Sequence[FunctionProto], opset: int) -> FunctionProto | None:
    """The function that computes `node`; None where there is none, as for a primitive."""
    if node.domain not in STANDARD:
        return next((f for f in functions if (f.domain, f.name, f.overload) == (node.domain, node.op_type, node.overload)), None)
    for version in (opset, defs.onnx_opset_version()):  # an op may have got its body later than its meaning
        if not defs.has(node.op_type, version, ""):
            return None
        schema: Any = defs.get_schema(node.op_type, version)  # onnx's stubs lack its functions
        if schema.has_function:
            return schema.function_body
        if schema.has_context_dependent_function:
            kinds = [helper.make_tensor_type_proto(TensorProto.FLOAT if name else TensorProto.UNDEFINED, None).SerializeToString()
                     for name in node.input]  # fmt: skip
            newest = max(schema.context_dependent_function_opset_versions)
            body = schema.get_context_dependent_function_with_opset_version(newest, node.SerializeToString(), kinds)
            return FunctionProto.FromString(body)
    return None


def opset_of(model: ModelProto) -> int:
    """The version of the standard's ops in a model."""
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD), defs.onnx_opset_version())
