"""Arithmetic on constants is done once, here: exporters quantize, clip and transpose weights inside the graph."""

from __future__ import annotations

import math

from onnx import NodeProto, helper, numpy_helper

from custom_ops.runtime import session
from passes.graph import Graph, Rewrite

# Not DequantizeLinear and Quant: they say what integers are worth, and the integer passes read them.
FOLDED = frozenset(
    "Add Cast Clip Div Exp Flatten Identity Mul Neg Pow QuantizeLinear Reciprocal Reshape Sqrt Squeeze Sub Transpose Unsqueeze".split()
)
MOST_ELEMENTS = 2**26  # of a result; beyond it the node stays


class FoldConstants(Rewrite):
    """f(constants) -> the constant that onnxruntime computes, f an op that quantizes, converts, reshapes or calculates."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.domain or node.op_type not in FOLDED or len(node.output) != 1:
            return False
        values = {i: v for i in node.input if i and (v := graph.constant(i)) is not None}
        if not values or len(values) < len({i for i in node.input if i}) or node.output[0] in graph.outputs:
            return False
        if math.prod(max(v.size, 1) for v in values.values()) > MOST_ELEMENTS:
            return False
        name = node.output[0]
        inside = helper.make_graph([node], "constants", [], [helper.make_empty_tensor_value_info(name)],
                                   [numpy_helper.from_array(v, i) for i, v in values.items()])  # fmt: skip
        model = helper.make_model(inside, opset_imports=graph.model.model.opset_import, ir_version=graph.model.model.ir_version)
        result = session(model, kernels=False, optimize=False).run(None, {})[0]
        folded = graph.add_constant(f"{name}_folded", result)
        graph.rewire(name, folded)
        return True
