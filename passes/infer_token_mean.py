"""The mean over tokens as a hardware node."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal, Rewrite, attribute
from passes.infer_mat_vec import requant_options


class InferTokenMean(Rewrite):
    """Requant(ReduceSum(Cast(x), tokens); shift) -> TokenMean(x; shift), with the token axis kept as 1."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        total = graph.producer(node.input[0], "ReduceSum") if node.op_type == "Requant" else None
        cast = graph.producer(total.input[0], "Cast") if total is not None else None
        if total is None or cast is None:
            return False
        axes = graph.constant(total.input[1]) if len(total.input) > 1 else None
        mult, bias, shift = (graph.constant(i) for i in node.input[1:4])
        if axes is None or axes.ravel().tolist() not in ([1], [-2]) or mult is None or bias is None or shift is None:
            raise PassRefusal(f"{node.name}: the mean must run over the tokens (axis 1)")
        if shift.size != 1 or np.any(mult != 1) or np.any(bias != 0):
            raise PassRefusal(f"{node.name}: a mean needs one constant shift, no multiplier and no bias")
        kept = list(node.output) if attribute(total, "keepdims", 1) else [graph.new_name(f"{node.output[0]}_token")]
        mean = helper.make_node("TokenMean", [cast.input[0]], kept, name=node.name, domain=HW_DOMAIN,
                                shift=int(shift.ravel()[0]), **requant_options(node))  # fmt: skip
        new = [mean]
        if kept != list(node.output):
            axis = graph.add_constant(f"{node.output[0]}_axis", np.array([1], np.int64))
            new.append(helper.make_node("Squeeze", [kept[0], axis], list(node.output), name=f"{node.name}_squeeze"))
        graph.replace([total, node], new)
        return True
