"""The gate before folding: every node is a hardware node, and what is not is named."""

from __future__ import annotations

import re

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal

IDENTIFIER = re.compile(r"[^A-Za-z0-9_]")
PURE_RENAMING = ("Squeeze", "Reshape", "Identity")  # allowed behind the last hardware node only


class RequireHardware(Transformation):
    """Refuses the first node without a hardware form; makes node names into identifiers."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in graph.proto.node:
            at_end = node.op_type in PURE_RENAMING and node.output[0] in graph.outputs
            if node.domain != HW_DOMAIN and not at_end:
                raise PassRefusal(f"{node.op_type} {node.name}: no hardware node computes it here; the streaming accelerator takes "
                                  "patches, tables, linear layers, affines, residual sums and a mean over tokens")  # fmt: skip
            node.name = IDENTIFIER.sub("_", node.name)
        return model, False
