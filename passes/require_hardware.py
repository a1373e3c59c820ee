"""The gate before folding: every node is a hardware node, and what is not is named."""

from __future__ import annotations

import itertools
import re

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import HW_DOMAIN
from passes.graph import Graph, PassRefusal

IDENTIFIER = re.compile(r"[^A-Za-z0-9_]")
PURE_RENAMING = ("Squeeze", "Reshape", "Identity")  # allowed behind the last hardware node only


class RequireHardware(Transformation):
    """Refuses the first node without a hardware form; names the others `<what>_<op>`, such as blocks_0_fc1_mat_vec."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        taken: set[str] = set()
        for node in graph.proto.node:
            at_end = node.op_type in PURE_RENAMING and node.output[0] in graph.outputs
            if node.domain != HW_DOMAIN and not at_end:
                raise PassRefusal(f"{node.op_type} {node.name}: no hardware node computes it here; the streaming accelerator takes "
                                  "patches, tables, linear layers, affines, residual sums and a mean over tokens")  # fmt: skip
            node.name = _named(node, taken)
            taken.add(node.name)
        return model, False


def _named(node: NodeProto, taken: set[str]) -> str:
    """A new identifier that ends in the op's stem, so that it is no keyword of a hardware language."""
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.op_type).lower()
    name = IDENTIFIER.sub("_", node.name)
    name = name if name[:1].isalpha() else f"n{name}"
    base = name.removesuffix(f"_{stem}")
    candidates = itertools.chain((f"{base}_{stem}",), (f"{base}_{number}_{stem}" for number in itertools.count(1)))
    return next(c for c in candidates if c not in taken)
