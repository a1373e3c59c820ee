"""Telling a rounding boundary from a mistake: what a pass that rounds scales did to each tensor, given equal inputs to its layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops import add_functions
from custom_ops.runtime import session
from passes.graph import Graph, PassRefusal, attribute, free_inputs, get_metadata
from passes.logits_to_integer import SCALE
from passes.quantized import HIGH, LOW, code_range

AGAIN = "__again"  # behind the name of a tensor that is computed anew from the codes of the other model


@dataclass(frozen=True)
class Step:
    """A quantizer: y = clip(round(x / scale), low, high), as codes + `zero`, or as values (`unit` = scale)."""

    x: str
    scale: float
    low: float
    high: float
    zero: float
    unit: float


def rounded_otherwise(before: ModelProto, after: ModelProto, bounds: dict[str, tuple[float, float]], inputs: np.ndarray) -> int:
    """How many codes of the tensors in `bounds` the two models round to another integer, each within its bound.

    Every layer of `before` is run on what `after` has there, so that a difference excuses no later one. For a quantizer of
    `before` whose real value is v, in codes: |y of after - clip(v)| <= 1/2 + bound; a quantizer without a bound must give the same. For a
    float output, in units of `after`'s logits: |integer - float| <= bound. Refuses, naming the tensor, where that does not hold.
    """
    made = {o for n in after.graph.node for o in n.output}
    steps = {t: step for t, step in _steps(before).items() if t in made}
    outputs = [o.name for o in before.graph.output]
    feed = {free_inputs(before)[0].name: inputs}
    given = _run(after, [*steps, *outputs], feed)
    cut = ModelProto()
    cut.CopyFrom(before)
    types = {v.name: v.type.tensor_type.elem_type for v in cut.graph.value_info}
    for node in cut.graph.node:
        node.output[:] = [o + AGAIN if o in steps else o for o in node.output]
    inner = [t for t in steps if t not in outputs]
    cut.graph.input.extend(helper.make_tensor_value_info(t, types.get(t, TensorProto.INT8), None) for t in inner)
    for value in cut.graph.output:
        value.name += AGAIN if value.name in steps else ""
    del cut.graph.value_info[:]
    again = _run(cut, [*(t + AGAIN for t in steps), *(s.x for s in steps.values()), *(o for o in outputs if o not in steps)],
                 {**feed, **{t: given[t] for t in inner}})  # fmt: skip
    scales = [float(get_metadata(m, SCALE) or 1.0) for m in (before, after)]
    count = 0
    for tensor in [*steps, *(o for o in outputs if o not in steps)]:
        step, slack = steps.get(tensor), sum(bounds.get(tensor, (0.0, 0.0)))
        if step is not None and tensor in bounds:
            codes = given[tensor].astype(np.float64) / step.unit - step.zero
            off = np.abs(codes - np.clip(again[step.x].astype(np.float64) / step.scale, step.low, step.high))
            slack += 0.5
            count += int((given[tensor] != again[tensor + AGAIN]).sum())
        elif step is not None:
            off = np.abs(given[tensor].astype(np.float64) - again[tensor + AGAIN].astype(np.float64))
        else:
            off = np.abs(given[tensor].astype(np.float64) - again[tensor].astype(np.float64) * (scales[0] / scales[1]))
        if off.size and not off.max() <= slack:
            raise PassRefusal(f"{tensor}: {off.max():.6g} codes from what its float layer gives; rounding explains {slack:.6g}")
    return count


def _steps(model: ModelProto) -> dict[str, Step]:
    """Quantizers of activations by the tensors that they make."""
    graph = Graph(ModelWrapper(model))
    found: dict[str, Step] = {}
    for node in graph.proto.node:
        parameters = [graph.constant(i) for i in node.input[1:]]
        if node.op_type not in ("QuantizeLinear", "Quant") or any(p is None or p.size != 1 for p in parameters) or len(parameters) < 2:
            continue
        if graph.constant(node.input[0]) is None:
            scale, zero, *bits = (float(p.ravel()[0]) for p in parameters if p is not None)
            low, high = _range(node, int(bits[0])) if bits else (LOW, HIGH)
            codes = node.op_type == "QuantizeLinear"
            found[node.output[0]] = Step(node.input[0], scale, low - zero, high - zero, zero if codes else 0.0, 1.0 if codes else scale)
    return found


def _range(quant: NodeProto, bits: int) -> tuple[int, int]:
    """Least and greatest code of a Quant."""
    return code_range(bits, bool(attribute(quant, "signed", 1)), bool(attribute(quant, "narrow", 1)))


def _run(model: ModelProto, outputs: list[str], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    copy = ModelProto()
    copy.CopyFrom(model)
    known = {v.name: v for v in (*copy.graph.value_info, *copy.graph.input, *copy.graph.output)}
    wanted = list(dict.fromkeys(outputs))
    del copy.graph.output[:]
    copy.graph.output.extend(known.get(t, helper.make_empty_tensor_value_info(t)) for t in wanted)
    opened = session(add_functions(copy), kernels=False)
    names = {i.name for i in opened.get_inputs()}
    results = opened.run(wanted, {name: value for name, value in feeds.items() if name in names})
    return dict(zip(wanted, results, strict=True))
