"""The classifier's accumulator as the graph's output."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, PassRefusal, Rewrite, set_metadata
from passes.matmul_to_integer import read_linear
from passes.scaling import INT32, note_error

SCALE = "logits_scale"  # key of the model's metadata: what one unit of the integer logits is worth
MOST_LEFT = 16  # bits that a bias which is no whole number of accumulator units adds below the point


class LogitsToInteger(Rewrite):
    """output = DQ(x) @ DQ(W) + b, one scale for all classes -> int32 MatMulInteger(x, W) + b / s; s = s_x * s_w to the metadata.

    A bias that is no whole number of s is added to MatMulInteger(x, W) * 2**k, and s / 2**k is noted: off by at most s / 2**(k + 1).
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        tensor = node.output[0]
        linear = read_linear(graph, tensor, node.name or tensor) if tensor in graph.outputs else None
        if linear is None or graph.consumers(tensor):
            return False
        if linear.axis != -1:
            raise PassRefusal(f"{node.name}: the classifier's weights must be on the right")
        if math.isfinite(linear.chain.low) or math.isfinite(linear.chain.high):
            raise PassRefusal(f"{node.name}: the output is clipped behind the classifier without a quantizer; leave the clip out")
        scales = np.unique(linear.scale * linear.chain.gain)
        if scales.size != 1 or scales[0] <= 0:
            raise PassRefusal(f"{node.name}: {scales.size} weight scales in the classifier; the largest integer is the largest logit "
                              "only with one, quantize it per tensor")  # fmt: skip
        scale, left = float(scales[0]), 0
        codes = linear.chain.offset / scale + linear.shifted
        exact = bool(np.all(codes == np.rint(codes)) and math.frexp(scale)[0] == 0.5)
        if np.any(np.abs(codes - np.rint(codes)) > np.abs(codes) * 2.0**-20):  # more than float32 scales explain
            left = max(0, min(MOST_LEFT, math.floor(math.log2((INT32 - 1) / (_most(linear.weight) + np.abs(codes).max() + 1)))))
        accumulator, product = linear.product_on_integers(graph, tensor)
        new = [product]
        if left:
            factor = graph.add_constant(f"{tensor}_factor", np.array(2**left, np.int32))
            shifted = graph.new_name(f"{tensor}_shifted")
            new.append(helper.make_node("Mul", [accumulator, factor], [shifted], name=shifted))
            accumulator = shifted
        whole = np.rint(codes * 2.0**left)
        if np.any(np.abs(whole) >= INT32):
            raise PassRefusal(f"{node.name}: a bias of {np.abs(codes).max():.3g} accumulator units, beyond int32; train a smaller one")
        offset = graph.add_constant(f"{tensor}_bias_int32", whole.astype(np.int32))
        new.append(helper.make_node("Add", [accumulator, offset], [tensor], name=f"{tensor}_add"))
        graph.replace(linear.nodes, new)
        for output in graph.proto.output:
            if output.name == tensor:
                output.type.tensor_type.elem_type = TensorProto.INT32
        unit = scale / 2**left
        if not exact:
            error = float(np.abs(whole - codes * 2.0**left).max())
            note_error(graph.model.model, tensor, error, linear.float_error(unit))
        set_metadata(graph.model.model, SCALE, repr(unit))
        return True


def _most(weight: np.ndarray) -> int:
    """The largest magnitude of an accumulator of weights [K, M], for any int8 input."""
    return int(np.abs(weight).sum(0).max()) * 128
