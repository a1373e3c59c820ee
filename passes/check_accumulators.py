"""The proof that float32 arithmetic was exact: every accumulator of the network stays below 2**24."""

from __future__ import annotations

import logging

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.graph import Graph, PassRefusal, get_metadata
from passes.logits_to_integer import SCALE
from passes.scaling import errors_of

log = logging.getLogger(__name__)
EXACT_IN_FLOAT32 = 2**24
INT32 = 2**31


class CheckAccumulators(Transformation):
    """sum(|w|) * 128 + |bias| < 2**24 for every output channel of every linear layer; notes each accumulator's width.

    Refuses, naming the layer and the channel, where it does not hold. A graph that never was float (it has no logits
    scale), or whose scales were rounded (float32 was not exact then, and its error is noted), needs int32 only.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        limit = INT32 if get_metadata(model.model, SCALE) is None or errors_of(model.model) else EXACT_IN_FLOAT32
        for node in graph.proto.node:
            if node.op_type == "MatMulInteger":
                bound = accumulator_bound(graph, node)
                if bound.max() >= limit:
                    reach = f"channel {bound.argmax()} can reach {bound.max()}, not below 2**{limit.bit_length() - 1}"
                    raise PassRefusal(f"{node.name}: {reach}; train with smaller weights or biases")
                bits = int(bound.max()).bit_length() + 1
                model.set_tensor_datatype(node.output[0], DataType[f"INT{bits}"])
                log.info("%s: accumulator of %d bits", node.name, bits)
        return model, False


def accumulator_bound(graph: Graph, node: NodeProto) -> np.ndarray:
    """The largest magnitude of each output channel of a MatMulInteger with its bias, for any int8 input."""
    right, left = graph.constant(node.input[1]), graph.constant(node.input[0])
    weight = right.T if right is not None else left
    if weight is None:
        raise PassRefusal(f"{node.name}: a product of two activations; supported are constant weights")
    total = np.abs(weight.astype(np.int64)).sum(1) * 128
    user = graph.only_consumer(node.output[0], "Requant", "Add")
    if user is not None:
        biases = [graph.constant(i) for i in (user.input[2:3] if user.op_type == "Requant" else user.input)]
        total = total + sum(np.abs(bias.astype(np.int64)).ravel() for bias in biases if bias is not None)
    return total
