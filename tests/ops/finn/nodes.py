"""Nodes of FINN's domain outside a graph, as FINN asks them."""

from __future__ import annotations

from typing import Any

from onnx import helper
from qonnx.custom_op.registry import getCustomOp

PART = "xczu7ev-ffvc1156-2-e"


def finn_op(op_type: str, constants: int = 1, **attributes: Any) -> Any:
    """FINN's view of one node `node` from x and `constants` more inputs to y."""
    inputs = ["x", *(f"c{i}" for i in range(constants))]
    node = helper.make_node(op_type, inputs, ["y"], name="node", domain="finn.custom_op.fpgadataflow", backend="fpgadataflow", **attributes)
    return getCustomOp(node)
