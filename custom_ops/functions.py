"""The function bodies a model needs, attached to it: afterwards plain onnxruntime runs the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from custom_ops import hw
from custom_ops.channel_lut import ChannelLUT
from custom_ops.grid_lerp import GridLerp
from custom_ops.lerp_psa import LerpPSA
from custom_ops.linear import Linear
from custom_ops.linear_sum import LinearSum
from custom_ops.op import DOMAIN, HW_DOMAIN, OPSET, VERSION, Op, OpError, suggestion
from custom_ops.patch_linear import PatchLinear
from custom_ops.psa import PSA
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.quant import OP_TYPES as QUANT
from custom_ops.quant import check_quant, quant_function
from custom_ops.requant import Requant
from custom_ops.token_linear import TokenLinear
from custom_ops.token_mean import TokenMean

ALL: tuple[type[Op], ...] = (PSA, LerpPSA, GridLerp, ChannelLUT, Requant, Linear, TokenLinear, PatchLinear, TokenMean, LinearSum)
OPS: dict[str, type[Op]] = {op.__name__: op for op in ALL}
DOMAINS: dict[str, dict[str, type[Op]]] = {DOMAIN: OPS, HW_DOMAIN: hw.OPS}

FUNCTIONS_IR = 8  # the first IR version with functions
OVERLOADS_IR = 10  # the first with overloads of one function

Key = tuple[str, str, str]  # domain, name, overload


def add_functions(model: ModelProto) -> ModelProto:
    """Attaches, in place, the body of every op of ours and Quant that `model` uses, replacing older ones.

    Also sets the opset imports, the IR version and, on a node whose op has several bodies, its overload.
    Returns `model`. Raises OpError for an op, attribute, input count or rounding mode that we do not have.
    """
    kept = [function for function in model.functions if not _is_ours(function.domain, function.name)]
    del model.functions[:]
    model.functions.extend(kept)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    elements = element_types(model)
    for function in kept:
        for node in nodes_of(function.node):
            if _is_ours(node.domain, node.op_type) and _overload(node):
                # onnxruntime finds a call's overload in the main graph only, not inside functions
                raise OpError(f"{node.op_type} {node.name} cannot be used in function {function.name}; inline it")
    for node in calls(model):
        if _is_ours(node.domain, node.op_type):
            check_node(node, elements, constants)
            node.overload = _overload(node)
            _attach(model, _key(node))
    return model


def attach_missing(model: ModelProto, node: NodeProto) -> None:
    """Attaches, in place, the body of one node of ours unless the model has one of that name already."""
    node.overload = _overload(node)
    _attach(model, _key(node))


def nodes_of(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from nodes_of(graph.node)


def calls(model: ModelProto) -> list[NodeProto]:
    """All nodes of the main graph, its subgraphs and the model's functions."""
    return [node for nodes in (model.graph.node, *(f.node for f in model.functions)) for node in nodes_of(nodes)]


def element_types(model: ModelProto) -> dict[str, int]:
    """Tensor name -> element type, for the tensors of the main graph whose type the model states."""
    graph = model.graph
    types = {info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.input, *graph.output)}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def check_node(
    node: NodeProto,
    elements: Mapping[str, int] | None = None,
    constants: Mapping[str, TensorProto] | None = None,
) -> None:
    """Raises OpError unless `node` is a well-formed node of an op of ours or a Quant that we can compute.

    elements: the tensors' element types, constants: the initializers, both by name and as far as known.
    """
    elements, constants = elements or {}, constants or {}
    if node.domain in QUANT_DOMAINS:
        bits = constants.get(node.input[3]) if len(node.input) > 3 else None
        check_quant(node, None if bits is None else float(numpy_helper.to_array(bits).reshape(-1)[0]))
        return
    ops = DOMAINS[node.domain]
    if node.op_type not in ops:
        raise OpError(f"{node.domain} has no op '{node.op_type}'{suggestion(node.op_type, ops)}")
    op = ops[node.op_type](node, onnx_opset_version=VERSION)
    op.verify_node()
    op.verify_tensors(elements, constants)


def _attach(model: ModelProto, key: Key) -> None:
    present = {(function.domain, function.name, function.overload) for function in model.functions}
    if key not in present:
        function = _function(key, _opset(model))
        model.functions.append(function)
        for node in nodes_of(function.node):
            if node.domain in DOMAINS:
                _attach(model, _key(node))
    if key[0] not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(key[0], VERSION))
    model.ir_version = max(model.ir_version, OVERLOADS_IR if key[2] else FUNCTIONS_IR)


def _function(key: Key, opset: int) -> FunctionProto:
    domain, name, overload = key
    if domain in QUANT_DOMAINS:
        return quant_function(domain, opset, name)
    return DOMAINS[domain][name].function(overload, opset)


def _opset(model: ModelProto) -> int:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if opset < OPSET:
        raise OpError(f"opset {opset} is older than the {OPSET} that our bodies need; convert it first")
    return opset


def _key(node: NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _overload(node: NodeProto) -> str:
    op = DOMAINS.get(node.domain, {}).get(node.op_type)
    return op.overload_of(node) if op else ""


def _is_ours(domain: str, name: str) -> bool:
    return domain in DOMAINS or (domain in QUANT_DOMAINS and name in QUANT)
