"""A clip of codes goes into what makes them."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from custom_ops import DOMAIN
from passes.graph import Graph, Rewrite, attribute, set_attribute


class FoldClip(Rewrite):
    """Clip(Requant(x; lo, hi), a, b) -> Requant(x; clip(lo, a, b), clip(hi, a, b)); Clip(ChannelLUT(x, t), a, b) -> clip(t, a, b).

    a and b are constant codes, and nothing else reads what is clipped. A table must be full: between knots clipping is not linear.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Clip" or node.domain or not graph.used_once(node.input[0]):
            return False
        maker = graph.producer(node.input[0], "Requant", "ChannelLUT")
        limits = [graph.constant(i) if i else None for i in (*node.input[1:3], "", "")[:2]]
        given = [i for i in node.input[1:3] if i]
        if maker is None or maker.domain != DOMAIN or any(v.dtype != np.int8 or v.size != 1 for v in limits if v is not None):
            return False
        if len(given) != sum(v is not None for v in limits):
            return False
        low, high = (default if v is None else int(v.ravel()[0]) for v, default in zip(limits, (-128, 127), strict=True))
        if low > high:
            return False
        if maker.op_type == "Requant":
            for name, default in (("lo", -128), ("hi", 127)):
                set_attribute(maker, name, int(np.clip(int(attribute(maker, name, default)), low, high)))  # type: ignore[call-overload]
        else:
            table = graph.constant(maker.input[1])
            if table is None or table.shape[1] != 256:
                return False
            maker.input[1] = graph.add_constant(f"{node.output[0]}_table", np.clip(table, low, high))
        maker.output[0] = node.output[0]
        graph.proto.node.remove(node)
        graph.reindex()
        return True
