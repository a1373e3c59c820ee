"""Any chain of per-channel functions between two quantized tensors as a table: run it on every code, keep the answers."""

from __future__ import annotations

import logging

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

import custom_ops
from custom_ops.runtime import session
from passes.channel_chain import Chain, find_chain, foldable
from passes.graph import Graph, PassRefusal, Rewrite, get_metadata, set_metadata
from passes.quantized import ROUNDING

log = logging.getLogger(__name__)
CODES = 256
BOUNDARY_ENTRIES = "boundary_entries"  # key of the model's metadata
BOUNDARY = 2.0**-14  # nearer than this to a half, in units of the output, an entry counts as on a rounding boundary


class FunctionToLUT(Rewrite):
    """f(x) -> ChannelLUT(x, table), table[c, i] = f_c(lowest + i) for all 256 codes; x int8 or uint8, f(x) int8.

    f is the longest chain of nodes up to an int8 tensor that is proven a function of one element and its channel
    (`passes.channel_chain`): dequantization, affines, activations, learned functions, sums with x itself, quantization, clips
    and tables in between. onnxruntime runs it on every code. A table has 256 entries also where x has fewer bits: those of
    the other codes are what f gives there, and are never read. It has one row where all channels agree. Channels that are not
    innermost (BatchNormalization's second axis) are moved there and back. Requantizations alone stay, they need no table.
    Entries on a rounding boundary are counted in the model's metadata (`boundary_entries`).
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if len(node.output) != 1 or graph.element_type(node.output[0]) != TensorProto.INT8 or not foldable(graph, node):
            return False
        chain = find_chain(graph, node)
        work = [n.op_type for n in chain.nodes if n.op_type not in ("Transpose", "Identity")] if chain is not None else []
        if chain is None or set(work) <= {"Requant"} or work == ["ChannelLUT"]:
            return False
        entries, boundary = _tabulate(graph, chain)
        name, channels = chain.end, chain.shape[chain.axis]
        table = graph.add_constant(f"{name}_table", entries[:1] if (entries == entries[0]).all() else entries)
        last = len(chain.shape) - 1
        inwards = [*(a for a in range(last + 1) if a != chain.axis), chain.axis]
        inner, moved = (name, chain.source) if chain.axis == last else (graph.new_name(f"{name}_inner"), graph.new_name(f"{name}_moved"))
        new = [helper.make_node("ChannelLUT", [moved, table], [inner], name=name, domain=custom_ops.DOMAIN, rounding=ROUNDING,
                                lowest=0 if chain.unsigned else -128)]  # fmt: skip
        if chain.axis != last:
            there, back = f"{name}_channels_last", f"{name}_channels_back"
            new = [helper.make_node("Transpose", [chain.source], [moved], name=there, perm=inwards), *new,
                   helper.make_node("Transpose", [inner], [name], name=back, perm=np.argsort(inwards).tolist())]  # fmt: skip
        graph.replace(chain.nodes, new)
        count = int(get_metadata(graph.model.model, BOUNDARY_ENTRIES) or 0) + boundary
        set_metadata(graph.model.model, BOUNDARY_ENTRIES, str(count))
        log.info("%s: %d nodes, %d x %d entries, %d on a rounding boundary", name, len(chain.nodes), channels, CODES, boundary)
        return True


def _tabulate(graph: Graph, chain: Chain) -> tuple[np.ndarray, int]:
    """(int8 [C, 256], number of entries on a rounding boundary), from onnxruntime running the chain on every code."""
    kind = TensorProto.UINT8 if chain.unsigned else TensorProto.INT8
    codes = np.arange(CODES, dtype=np.uint8) if chain.unsigned else np.arange(-128, 128).astype(np.int8)
    channels = chain.shape[chain.axis]
    # every code in order, then in another order in each channel: what gives a code two answers is no function of it
    shuffled = np.random.default_rng(0).permuted(np.repeat(np.arange(CODES)[:, None], channels, 1), axis=0)
    index = np.concatenate([np.repeat(np.arange(CODES)[:, None], channels, 1), shuffled])
    results = _run(graph, chain, codes[index], kind)
    answers, near = results[0], np.zeros(index.shape, bool)
    for quantize, exact in zip(_roundings(chain), results[1:], strict=True):
        scale, *zeros = (graph.constant(i) for i in quantize.input[1:])
        zero = zeros[0] if zeros and zeros[0] is not None else np.zeros((), np.uint8)
        limits, steps = np.iinfo(zero.dtype), exact.astype(np.float64) / scale  # type: ignore[operator]
        inside = (steps + zero > limits.min - 0.5) & (steps + zero < limits.max + 0.5)
        near |= inside & (np.abs(np.abs(steps - np.floor(steps)) - 0.5) < BOUNDARY)
    table, boundary = answers[:CODES], near[:CODES]
    channel = np.arange(channels)
    if ((answers[CODES:] != table[shuffled, channel]) & ~boundary[shuffled, channel]).any():
        raise PassRefusal(f"{chain.end}: the chain from '{chain.source}' gives one code two answers at two places; it cannot be a table")
    return np.ascontiguousarray(table.T), int(boundary.sum())


def _run(graph: Graph, chain: Chain, feed: np.ndarray, kind: int) -> list[np.ndarray]:
    """What the chain gives for codes [n, C], and what stands before each of its roundings, all [n, C]."""
    rank = max(len(chain.shape), 2)
    axis = chain.axis if len(chain.shape) > 1 else 1
    along = 0 if axis != 0 else 1
    others = tuple(a for a in range(rank) if a not in (axis, along))
    ends = [chain.end, *(q.input[0] for q in _roundings(chain))]
    constants = {i: c for n in chain.nodes for i in n.input if (c := graph.constant(i)) is not None}
    inside = helper.make_graph(
        chain.nodes, "function", [helper.make_tensor_value_info(chain.source, kind, [None] * rank)],
        [helper.make_empty_tensor_value_info(e) for e in dict.fromkeys(ends)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(inside, opset_imports=graph.model.model.opset_import, ir_version=graph.model.model.ir_version,
                              functions=graph.model.model.functions)  # fmt: skip
    given = session(custom_ops.add_functions(model), kernels=False).run(None, {chain.source: np.expand_dims(feed, others)})
    found = dict(zip(dict.fromkeys(ends), given, strict=True))
    layouts = [range(rank) if rank > len(chain.shape) else np.argsort(chain.layouts[e]) for e in ends]
    return [found[e].transpose(layout).squeeze(others) for e, layout in zip(ends, layouts, strict=True)]


def _roundings(chain: Chain) -> list[NodeProto]:
    """The quantizers on the way of x."""
    return [n for n in chain.nodes if n.op_type == "QuantizeLinear" and n.input[0] in chain.layouts]
