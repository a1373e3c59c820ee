"""A quantized model to ONNX: standard ops, QONNX Quant, and the learnable functions as ops of the domain `psaflow`."""

from __future__ import annotations

import ast
import logging
import re
import warnings

import onnx
import torch
from onnx import ModelProto, NodeProto

import custom_ops
from train.quantized import QuantResMLP

log = logging.getLogger(__name__)
OPSET = 18
SCOPES = "pkg.torch.onnx.name_scopes"


def export_onnx(model: QuantResMLP) -> ModelProto:
    """uint8 pixels [N, H, W, 3] -> float logits [N, classes]; batch N is dynamic.

    Nodes and tensors are named after the modules they come from; every op that plain onnxruntime does not know carries
    a function body.
    """
    from brevitas.export import export_qonnx

    a = model.architecture
    pixels = torch.zeros(2, a.image, a.image, 3, dtype=torch.uint8)
    model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = export_qonnx(model, args=(pixels,), dynamic_shapes=({0: torch.export.Dim("N")},), opset_version=OPSET,
                                verbose=False)  # fmt: skip
    name_after_modules(exported)
    exported.producer_name = "psaflow"
    exported.producer_version = ""
    for message in (exported.graph, *exported.graph.node, *exported.graph.input, *exported.graph.output,
                    *exported.graph.value_info, *exported.graph.initializer):  # fmt: skip
        del message.metadata_props[:]
        message.doc_string = ""
    custom_ops.add_functions(exported)
    onnx.checker.check_model(exported)
    return exported


def _scope(node: NodeProto) -> str:
    """`blocks.0.fc1` for a node that came from that module, its quantizers' inner modules left out."""
    found = next((p.value for p in node.metadata_props if p.key == SCOPES), "[]")
    scopes = [s for s in ast.literal_eval(found)[:-1] if "export_handler" not in s and not s.endswith((".act_quant", ".output_quant"))]
    return scopes[-1] if scopes else ""


def name_after_modules(model: ModelProto) -> None:
    """Rename, in place, every node and the tensor it makes: module path, then what the node does."""
    taken: dict[str, int] = {}
    renamed: dict[str, str] = {}
    graph = model.graph
    outputs = {o.name for o in graph.output}
    for node in graph.node:
        what = "" if node.op_type == "Quant" and _scope(node).endswith(("weight_quant", "bias_quant")) else node.op_type.lower()
        parts = [p for p in (*re.sub(r"_quant$", "", _scope(node)).split("."), what) if p]
        name = "_".join(parts) or node.op_type.lower()
        taken[name] = taken.get(name, -1) + 1
        name = name if not taken[name] else f"{name}_{taken[name]}"
        node.name = name
        for output in node.output:
            renamed[output] = "logits" if output in outputs else name
    for initializer in graph.initializer:
        user = next((n for n in graph.node if initializer.name in n.input), None)
        if user is not None and initializer.name not in renamed:
            renamed[initializer.name] = _unique(f"{user.name}_{_role(user, initializer.name)}", set(renamed.values()))
            initializer.name = renamed[initializer.name]
    for node in graph.node:
        node.input[:] = [renamed.get(i, i) for i in node.input]
        node.output[:] = [renamed.get(o, o) for o in node.output]
    for value in (*graph.value_info, *graph.output):
        value.name = renamed.get(value.name, value.name)


def _role(node: NodeProto, tensor: str) -> str:
    """What an initializer is to the node that uses it."""
    position = list(node.input).index(tensor)
    if node.op_type == "Quant":
        return ("float", "scale", "zero", "bits")[position]
    if node.op_type in custom_ops.OPS:
        return custom_ops.OPS[node.op_type].inputs[position]
    return {"Reshape": "shape", "ReduceMean": "axes"}.get(node.op_type, "constant")


def _unique(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number, candidate = number + 1, f"{name}_{number}"
    return candidate
