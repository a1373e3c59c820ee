"""Opens an onnxruntime session on any stage's model, with or without the compiled kernels."""

from __future__ import annotations

import functools
import logging
import os
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import onnx

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, hence before it

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from custom_ops.functions import DOMAINS, calls, nodes_of
from custom_ops.kernels import KERNELS, KernelError, isa, library
from custom_ops.load import ModelError, parse
from custom_ops.op import suggestion
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.quant import OP_TYPES as QUANT

log = logging.getLogger(__name__)

# Rewrites that change how float arithmetic rounds; a stage must compute what its graph says.
REASSOCIATING = [
    "ConvAddFusion", "ConvBNFusion", "ConvMulFusion", "MatMul_BatchNormalization_Fusion", "MatMulScaleFusion",
    "DivMulFusion", "LayerNormFusionL1", "LayerNormFusionL2", "SimplifiedLayerNormFusion", "GeluFusionL1",
    "GeluFusionL2", "BiasGeluFusion", "QuickGeluFusion", "FastGeluFusion",
]  # fmt: skip

ORT_ERRORS = tuple(
    getattr(ort_errors, name)
    for name in (
        "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
        "NotImplemented", "RuntimeException",
    )
)  # fmt: skip


_KERNELS_OF: weakref.WeakKeyDictionary[onnxruntime.InferenceSession, dict[str, int]] = weakref.WeakKeyDictionary()


def session(
    model: Path | str | bytes | onnx.ModelProto,
    kernels: bool | Literal["auto"] = "auto",
    threads: int | None = None,
    outputs: Sequence[str] | Literal["all"] | None = None,
    *,
    optimize: bool = True,
) -> onnxruntime.InferenceSession:
    """A CPU session on a model file, its bytes, or a ModelProto (which is not changed).

    kernels: "auto" takes the compiled kernels where a compiler is at hand, else the function bodies; True
    insists on kernels; False is plain onnxruntime. threads: None for all cores that this process
    may use. outputs: the tensors to give instead of the graph's outputs; "all" for every tensor that the main graph
    computes, in its order. optimize: False runs every node as written. Raises ModelError. `kernels_of` tells which kernels a session has.
    """
    source = f"{model}" if isinstance(model, Path | str) else "model in memory"
    proto = model if isinstance(model, onnx.ModelProto) else parse(model, source)
    if outputs is not None:
        proto = expose(proto, outputs, source)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails raises; onnxruntime would print it too
    # no fusing of Dequantize-op-Quantize into int8 ops that approximate the op
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if threads is None and hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
        threads = len(os.sched_getaffinity(0))  # onnxruntime starts one for each core of the machine; too many wait for each other
    if threads is not None:
        if threads < 1:
            raise ModelError(f"{source}: threads={threads} must be at least 1")
        options.intra_op_num_threads = threads
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    registered = kernels is not False and _register(options, insist=kernels is True)
    _check_bodies(proto, source, registered)
    try:
        opened = onnxruntime.InferenceSession(
            proto.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=REASSOCIATING,
        )
    except ORT_ERRORS as error:
        reason = " ".join(str(error).split()).removeprefix("[ONNXRuntimeError] : ")
        raise ModelError(f"{source}: onnxruntime {onnxruntime.__version__} cannot run it: {reason}") from None
    _KERNELS_OF[opened] = _kernel_calls(proto) if registered else {}
    if registered:
        listed = ", ".join(f"{count} {name}" for name, count in _KERNELS_OF[opened].items()) or "none"
        log.info("%s: kernels (%s): %s", source, isa(), listed)
    return opened


def kernels_of(opened: onnxruntime.InferenceSession) -> dict[str, int]:
    """`psaflow.ChannelLUT` -> how many nodes of a `session` that kernel runs, those inside functions counted at each call.

    A registered kernel always wins over a function body, so the other nodes run as standard ops. {} without kernels.
    """
    return dict(_KERNELS_OF.get(opened, {}))


def expose(model: onnx.ModelProto, outputs: Sequence[str] | Literal["all"], source: str = "model") -> onnx.ModelProto:
    """A copy of `model` that gives the tensors in `outputs`, or with "all" every computed tensor."""
    computed = [name for node in model.graph.node for name in node.output if name]
    wanted = computed if outputs == "all" else list(outputs)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {info.name: info for info in (*copy.graph.value_info, *copy.graph.input, *copy.graph.output)}
    del copy.graph.output[:]
    for name in wanted:
        if name not in computed:
            raise ModelError(f"{source}: no node computes tensor '{name}'{suggestion(name, computed)}")
        # without value info onnxruntime infers the type itself
        copy.graph.output.append(known.get(name, onnx.ValueInfoProto(name=name)))
    return copy


def _check_bodies(model: onnx.ModelProto, source: str, registered: bool) -> None:
    bodies = {(function.domain, function.name, function.overload) for function in model.functions}
    for node in calls(model):
        ours = node.domain in DOMAINS or node.domain in QUANT_DOMAINS
        has_kernel = registered and (node.domain, node.op_type) in KERNELS
        if ours and not has_kernel and (node.domain, node.op_type, node.overload) not in bodies:
            reason = f"node '{node.name}' is {node.domain}.{node.op_type}, which has no function body here"
            known = node.domain in DOMAINS or node.op_type in QUANT
            way_out = "run custom_ops.add_functions on the model" if known else "replace it by Quant or standard ops"
            raise ModelError(f"{source}: {reason}; {way_out}")


def _kernel_calls(model: onnx.ModelProto) -> dict[str, int]:
    bodies = {(function.domain, function.name, function.overload): function for function in model.functions}

    def count(nodes: Iterable[onnx.NodeProto]) -> Counter[str]:
        found: Counter[str] = Counter()
        for node in nodes_of(nodes):
            if (node.domain, node.op_type) in KERNELS:
                found[f"{node.domain}.{node.op_type}"] += 1
            elif (node.domain, node.op_type, node.overload) in bodies:
                found += count(bodies[node.domain, node.op_type, node.overload].node)
        return found

    return dict(sorted(count(model.graph.node).items()))


def _register(options: onnxruntime.SessionOptions, insist: bool) -> bool:
    try:
        path = library()
    except KernelError as error:
        if insist:
            raise ModelError(f"no kernels: {error}") from None
        _say_once(str(error))
        return False
    try:
        isa()  # kernels that were asked for what this CPU lacks are refused, not replaced by bodies
    except KernelError as error:
        raise ModelError(str(error)) from None
    options.register_custom_ops_library(str(path))
    return True


@functools.cache
def _say_once(reason: str) -> None:
    log.warning("no kernels, function bodies instead (slower, same results): %s", reason)
