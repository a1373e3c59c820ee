"""QONNX's quantizer under its newer name."""

from __future__ import annotations

from onnx import NodeProto

from custom_ops.quant import DOMAINS, OP_TYPES
from passes.graph import QUANT_DOMAIN, Graph, Rewrite


class RenameIntQuant(Rewrite):
    """IntQuant(x, s, z, n) -> Quant(x, s, z, n), in QONNX's domain of today: they are one op."""

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type not in OP_TYPES or node.domain not in DOMAINS or (node.op_type, node.domain) == (OP_TYPES[0], QUANT_DOMAIN):
            return False
        node.op_type, node.domain = OP_TYPES[0], QUANT_DOMAIN
        return True
