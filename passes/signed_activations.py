"""Activations of unsigned bytes as signed ones, which is what the integer ops take."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from passes.graph import Graph, PassRefusal, Rewrite
from passes.move_quant_up import LAYOUT

HALF = 128


class SignedActivations(Rewrite):
    """QuantizeLinear(x, s, z: uint8) -> QuantizeLinear(x, s, z - 128: int8): every code is 128 less, down to its DequantizeLinear.

    clip(round(x / s) + z, 0, 255) - 128 = clip(round(x / s) + z - 128, -128, 127). Clips of codes and changes of layout between the
    two go along; a reader of the codes that is none of these is refused.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear" or node.domain or graph.constant(node.input[0]) is not None:
            return False
        given = len(node.input) > 2 and bool(node.input[2])
        zero = graph.constant(node.input[2]) if given else np.zeros((), np.uint8)
        if zero is None or zero.dtype != np.uint8 or any(a.name == "output_dtype" and a.i for a in node.attribute):
            return False
        readers = self._readers(graph, node)
        _less(graph, node, 2, zero)
        for reader in readers:
            if reader.op_type == "DequantizeLinear":
                _less(graph, reader, 2, zero)
            elif reader.op_type == "Clip":
                for position in range(1, len(reader.input)):
                    limit = graph.constant(reader.input[position])
                    if limit is not None:
                        _less(graph, reader, position, limit)
        for made in [node, *(r for r in readers if r.op_type != "DequantizeLinear")]:
            notes = [v for v in graph.proto.value_info if v.name == made.output[0]]
            for note in notes:
                graph.proto.value_info.remove(note)
        graph.reindex()
        return True

    @staticmethod
    def _readers(graph: Graph, node: NodeProto) -> list[NodeProto]:
        """All nodes that see the codes of `node`, down to where they are dequantized."""
        found, waiting = [], [node.output[0]]
        while waiting:
            tensor = waiting.pop()
            if tensor in graph.outputs:
                raise PassRefusal(f"{node.name}: the graph gives its uint8 codes; supported are outputs of int8, int32 or float")
            for reader in graph.consumers(tensor):
                constant = all(graph.constant(i) is not None for i in reader.input[1:] if i)
                if reader.domain or reader.op_type not in ("DequantizeLinear", "Clip", *LAYOUT) or not constant:
                    raise PassRefusal(f"{reader.op_type} {reader.name}: reads uint8 codes; supported there are DequantizeLinear, Clip and "
                                      f"{', '.join(LAYOUT)} with constants")  # fmt: skip
                found.append(reader)
                if reader.op_type != "DequantizeLinear":
                    waiting.extend(reader.output)
        return found


def _less(graph: Graph, node: NodeProto, position: int, value: np.ndarray) -> None:
    """Replace an input of unsigned codes by signed ones, 128 less."""
    signed = graph.add_constant(f"{node.output[0]}_signed", (value.astype(np.int16) - HALF).astype(np.int8))
    if len(node.input) > position:
        node.input[position] = signed
    else:
        node.input.append(signed)
