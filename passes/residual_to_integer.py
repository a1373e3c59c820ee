"""A residual addition on integers."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.graph import Graph, PassRefusal, Rewrite, log2_exact
from passes.quantized import activation, make_requant, output_scale, scalar_if_equal, shift_for

MOST_LEFT = 16  # 128 * 2**16 + 128 is below 2**24, so that float32 adds exactly


class ResidualToInteger(Rewrite):
    """Q(DQ(a) + DQ(b)) -> Requant(a * 2**i + b * 2**j, shift), both operands first brought to the finer of their scales."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        add = graph.producer(node.input[0], "Add") if node.op_type == "QuantizeLinear" else None
        if add is None:
            return False
        operands = [x for x in (activation(graph, i) for i in add.input) if x is not None]
        if len(operands) != 2:
            return False
        name = node.output[0]
        finer = min(operands[0].scale, operands[1].scale).reshape(())
        new, terms = [], []
        for role, operand in zip("ab", operands, strict=True):
            term = graph.new_name(f"{name}_{role}")
            new.append(helper.make_node("Cast", [operand.tensor], [term], name=term, to=TensorProto.INT32))
            left = int(log2_exact(operand.scale / finer, f"{name}: ratio of scales").ravel()[0])
            if left > MOST_LEFT:
                raise PassRefusal(f"{name}: its operands' scales are 2**{left} apart; up to 2**{MOST_LEFT} their sum stays below 2**24")
            if left:
                factor = graph.add_constant(f"{term}_factor", np.array(2**left, np.int32))
                shifted = graph.new_name(f"{term}_shifted")
                new.append(helper.make_node("Mul", [term, factor], [shifted], name=shifted))
                term = shifted
            terms.append(term)
        total = graph.new_name(f"{name}_sum")
        mult, shift = shift_for(finer, output_scale(graph, node), name)
        new.append(helper.make_node("Add", terms, [total], name=total))
        new.append(make_requant(graph, total, name, name, scalar_if_equal(mult), np.zeros(1), scalar_if_equal(shift)))
        graph.replace([add, node], new)
        return True
