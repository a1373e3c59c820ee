"""Quantization as two standard ops around an integer tensor, so that each later rewrite can be local and exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

from passes.graph import QUANT_DOMAIN, Graph, PassRefusal, Rewrite, attribute
from passes.quantized import code_range
from passes.scaling import note_error

MOST_BITS = 8  # of an activation


class QuantToQDQ(Rewrite):
    """Quant(x, s, z, n) -> DequantizeLinear(Clip(QuantizeLinear(x, s, z), low, high), s, z); Quant(W) -> DequantizeLinear(codes, s).

    low..high is what n bits hold, signed or not, narrow or not; without the Clip where that is -128..127. Unsigned codes beyond 127 are
    stored 128 less, with z - 128. Activations: up to 8 bits, one scale, ties to even. Constants: up to 8 bits as int8, else int32.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Quant" or node.domain != QUANT_DOMAIN:
            return False
        scale, zero, bits = (graph.constant(i) for i in node.input[1:4])
        if scale is None or zero is None or bits is None:
            raise PassRefusal(f"{node.name}: scale, zero point and bit width must be constants")
        rounding = str(attribute(node, "rounding_mode", "ROUND"))
        if rounding.upper() not in ("ROUND", "HALF_EVEN"):
            raise PassRefusal(f"{node.name}: rounding {rounding}; supported is ROUND, ties to even")
        if bits.size != 1 or not 1 <= float(bits.ravel()[0]) <= 32 or float(bits.ravel()[0]) % 1:
            width = bits.ravel()[:1].tolist()
            raise PassRefusal(f"{node.name}: a bit width of {width}; supported are 1..{MOST_BITS}, for constants 1..32")
        if np.any(zero != np.rint(zero)):
            raise PassRefusal(f"{node.name}: zero point {zero.ravel()[0]:g} is no integer")
        signed, narrow, width = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 1)), int(bits.ravel()[0])
        low, high = code_range(width, signed, narrow)
        value = graph.constant(node.input[0])
        if value is not None:
            self._constant(graph, node, value, scale, zero, low, high)
        else:
            self._activation(graph, node, scale, zero, low, high)
        return True

    def _activation(self, graph: Graph, node: NodeProto, scale: np.ndarray, zero: np.ndarray, low: int, high: int) -> None:
        if high - low >= 2**MOST_BITS:
            raise PassRefusal(f"{node.name}: an activation of {low}..{high}; supported are up to {MOST_BITS} bits")
        if scale.size != 1 or zero.size != 1:
            raise PassRefusal(f"{node.name}: {max(scale.size, zero.size)} scales for one activation; supported is one scale per tensor")
        less = 128 if high > 127 else 0
        code = int(zero.ravel()[0]) - less
        if not -128 <= code <= 127:
            raise PassRefusal(f"{node.name}: zero point {code + less} outside of {low}..{high}")
        integer = graph.new_name(node.name.removesuffix("_quant") or node.output[0])
        step = graph.add_constant(f"{integer}_scale", scale.reshape(()).astype(np.float32))
        origin = graph.add_constant(f"{integer}_zero", np.array(code, np.int8))
        new, codes = [helper.make_node("QuantizeLinear", [node.input[0], step, origin], [integer], name=f"{integer}_quantize")], integer
        if (low - less, high - less) != (-128, 127):
            codes = graph.new_name(f"{integer}_clipped")
            limits = [graph.add_constant(f"{integer}_{role}", np.array(v - less, np.int8)) for role, v in (("low", low), ("high", high))]
            new.append(helper.make_node("Clip", [integer, *limits], [codes], name=codes))
        new.append(helper.make_node("DequantizeLinear", [codes, step, origin], list(node.output), name=f"{integer}_dequantize"))
        result = node.output[0]
        graph.replace([node], new)
        if zero.any():
            # Quant rounds x / s + z, QuantizeLinear x / s: float32 sums lose up to this, and a tie may go the other way
            note_error(graph.model.model, result, 0.0, 2.0**-14)

    def _constant(self, graph: Graph, node: NodeProto, value: np.ndarray, scale: np.ndarray, zero: np.ndarray, low: int, high: int) -> None:
        try:
            with np.errstate(over="ignore"):
                codes = np.rint(np.clip(value / scale + zero, low, high)) - zero
        except ValueError:
            raise PassRefusal(f"{node.name}: a scale of shape {list(scale.shape)} for a constant of shape {list(value.shape)}") from None
        if codes.shape != value.shape:
            raise PassRefusal(f"{node.name}: a scale of shape {list(scale.shape)} for a constant of shape {list(value.shape)}")
        kind = np.int8 if codes.size and codes.min() >= -128 and codes.max() <= 127 else np.int32
        axes = [a for a, n in enumerate(scale.shape) if n > 1]
        if len(axes) > 1:
            raise PassRefusal(f"{node.name}: a scale of shape {list(scale.shape)}; supported is one per tensor or per channel")
        name = graph.add_constant(f"{node.output[0]}_int", codes.astype(kind))
        step = graph.add_constant(f"{node.output[0]}_step", scale.reshape(-1 if axes else ()).astype(np.float32))
        axis: dict[str, Any] = {"axis": axes[0] + value.ndim - scale.ndim} if axes else {}
        graph.replace([node], [helper.make_node("DequantizeLinear", [name, step], list(node.output), name=node.name, **axis)])
