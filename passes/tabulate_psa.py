"""The learnable function, evaluated once on its grid: from here on it is a table."""

from __future__ import annotations

from onnx import NodeProto, helper

from custom_ops import DOMAIN
from custom_ops.lerp_psa import lerp_psa_table
from passes.graph import Graph, Rewrite, attribute


class TabulatePSA(Rewrite):
    """LerpPSA(x, q_w, q_b, v, o_w, o_b) -> GridLerp(x, table), table[c, g] = f_c(grid point g), rounded to float32."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "LerpPSA" or node.domain != DOMAIN:
            return False
        parameters = [graph.constant(name) for name in node.input[1:]]
        if any(p is None for p in parameters):
            return False
        options = {name: attribute(node, name, default)
                   for name, default in (("epsilon", 1.0), ("grid", 64), ("bound", 4.0))}  # fmt: skip
        table = graph.add_constant(f"{node.name}_table", lerp_psa_table(*parameters, **options))
        name = node.name.replace("lerppsa", "gridlerp")
        new = helper.make_node("GridLerp", [node.input[0], table], list(node.output), name=name, domain=DOMAIN,
                               bound=options["bound"], residual=attribute(node, "residual", 0))  # fmt: skip
        graph.replace([node], [new])
        return True
