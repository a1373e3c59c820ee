"""Any chain of per-channel functions between two quantizers as a table: run it on every code, keep the answers."""

from __future__ import annotations

import logging

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

import custom_ops
from custom_ops.runtime import session
from passes.graph import Graph, Rewrite, get_metadata, set_metadata
from passes.quantized import ROUNDING, output_scale

log = logging.getLogger(__name__)
CODES = 256
BOUNDARY_ENTRIES = "boundary_entries"  # key of the model's metadata
BOUNDARY = 2.0**-14  # nearer than this to a half, in units of the output, an entry counts as on a rounding boundary

# Element-wise ops of the standard domain; what else touches two elements of a tensor must not be tabulated.
ELEMENTWISE = frozenset(
    "Abs Add Cast Ceil Celu Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Min Mish Mul Neg"
    " PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Tanh ThresholdedRelu Where".split()
)


class FunctionToLUT(Rewrite):
    """Q(f(DQ(x))) -> ChannelLUT(x, table), table[c, i] = Q(f_c(DQ(lowest + i))) for all 256 codes, f element-wise per channel.

    x is int8 behind a DequantizeLinear, or uint8 behind a Cast. f is run by onnxruntime, whatever it is made of. Entries
    that lie on a rounding boundary are counted in the model's metadata (`boundary_entries`).
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear":
            return False
        found = _chain(graph, node)
        if found is None:
            return False
        nodes, source, unsigned = found
        shape = graph.shape(source)
        if graph.shape(node.output[0]) != shape:
            return False  # a parameter spreads x over more channels or axes
        channels = shape[-1]
        table, boundary = _tabulate(graph, [*nodes, node], source, node, shape, unsigned)
        name = node.output[0]
        constant = graph.add_constant(f"{name}_table", table)
        graph.replace([*nodes, node], [helper.make_node(
            "ChannelLUT", [source, constant], [name], name=name, domain=custom_ops.DOMAIN, rounding=ROUNDING,
            lowest=0 if unsigned else -128,
        )])  # fmt: skip
        count = int(get_metadata(graph.model.model, BOUNDARY_ENTRIES) or 0) + boundary
        set_metadata(graph.model.model, BOUNDARY_ENTRIES, str(count))
        log.info("%s: %d x %d entries, %d on a rounding boundary", name, channels, CODES, boundary)
        return True


def _chain(graph: Graph, quantize: NodeProto) -> tuple[list[NodeProto], str, bool] | None:
    """(nodes from the input's codes to `quantize`, the tensor of codes, whether it is uint8), or None."""
    found: dict[str, NodeProto] = {}
    sources: set[tuple[str, bool]] = set()
    waiting = [quantize.input[0]]
    while waiting:
        tensor = waiting.pop()
        if tensor in found:
            continue
        constant = graph.constant(tensor)
        if constant is not None:
            if not _per_channel(constant) and not _parameter_of_ours(graph, tensor):
                return None
            continue
        node = graph.producer(tensor)
        if node is None or not _elementwise(graph, node):
            return None
        found[tensor] = node
        if node.op_type == "DequantizeLinear":
            parameter = graph.constant(node.input[0])
            if parameter is None:
                sources.add((node.input[0], False))
            elif not _per_channel(parameter):
                return None
        elif _casts_pixels(graph, node):
            sources.add((node.input[0], True))
        else:
            waiting.extend(i for i in node.input if i)
    if len(sources) != 1:
        return None
    (source, unsigned), order = sources.pop(), {o: i for i, n in enumerate(graph.proto.node) for o in n.output}
    return [found[t] for t in sorted(found, key=order.__getitem__)], source, unsigned


def _per_channel(constant: np.ndarray) -> bool:
    """One value, or one per channel along the last axis."""
    return constant.size == 1 or constant.size == constant.shape[-1]


def _parameter_of_ours(graph: Graph, tensor: str) -> bool:
    return all(n.domain == custom_ops.DOMAIN for n in graph.consumers(tensor))


def _elementwise(graph: Graph, node: NodeProto) -> bool:
    if node.domain == custom_ops.DOMAIN:
        return node.op_type in ("PSA", "LerpPSA", "GridLerp")
    if node.op_type == "DequantizeLinear":
        scale = graph.constant(node.input[1])
        return scale is not None and (scale.size == 1 or graph.constant(node.input[0]) is not None)
    return node.domain == "" and node.op_type in ELEMENTWISE


def _casts_pixels(graph: Graph, node: NodeProto) -> bool:
    kinds = {i.name: i.type.tensor_type.elem_type for i in graph.proto.input}
    return node.op_type == "Cast" and kinds.get(node.input[0]) == TensorProto.UINT8


def _tabulate(graph: Graph, nodes: list[NodeProto], source: str, quantize: NodeProto, shape: list[int],
              unsigned: bool) -> tuple[np.ndarray, int]:  # fmt: skip
    """(int8 [C, 256], number of entries on a rounding boundary), from onnxruntime running `nodes` on every code."""
    kind = TensorProto.UINT8 if unsigned else TensorProto.INT8
    constants = {i: c for n in nodes for i in n.input if (c := graph.constant(i)) is not None}
    channels, feed_shape = shape[-1], [1] * (len(shape) - 2) + [CODES, shape[-1]]
    inside = helper.make_graph(
        nodes, "function", [helper.make_tensor_value_info(source, kind, feed_shape)],
        [helper.make_tensor_value_info(quantize.output[0], TensorProto.INT8, feed_shape),
         helper.make_tensor_value_info(quantize.input[0], TensorProto.FLOAT, feed_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(inside, opset_imports=graph.model.model.opset_import, ir_version=graph.model.model.ir_version)
    codes = np.arange(CODES, dtype=np.uint8) if unsigned else np.arange(-128, 128).astype(np.int8)
    feed = np.repeat(codes[:, None], channels, 1).reshape(feed_shape)
    table, exact = session(custom_ops.add_functions(model), kernels=False).run(None, {source: feed})
    steps = exact.astype(np.float64) / output_scale(graph, quantize)
    near = np.abs(np.abs(steps - np.floor(steps)) - 0.5) < BOUNDARY
    inside_range = (steps > -128.5) & (steps < 127.5)
    return np.ascontiguousarray(table.reshape(CODES, channels).T), int((near & inside_range).sum())
