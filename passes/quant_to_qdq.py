"""Quantization as two standard ops around an integer tensor, so that each later rewrite can be local and exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

from passes.graph import QUANT_DOMAIN, Graph, PassRefusal, Rewrite, attribute


class QuantToQDQ(Rewrite):
    """Quant(x, s) -> DequantizeLinear(QuantizeLinear(x, s), s); Quant(constant, s) -> DequantizeLinear(integers, s).

    Activations: signed 8 bits, zero point 0, one scale, ties to even. Constants: up to 8 bits as int8, else int32.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "Quant" or node.domain != QUANT_DOMAIN:
            return False
        scale, zero, bits = (graph.constant(i) for i in node.input[1:4])
        if scale is None or zero is None or bits is None:
            raise PassRefusal(f"{node.name}: scale, zero point and bit width must be constants")
        if np.any(zero != 0):
            raise PassRefusal(f"{node.name}: zero point {zero[zero != 0].ravel()[0]:g}; the integer contract has zero points of 0 only")
        rounding = str(attribute(node, "rounding_mode", "ROUND"))
        if rounding.upper() not in ("ROUND", "HALF_EVEN"):
            raise PassRefusal(f"{node.name}: rounding {rounding}; supported is ROUND, ties to even")
        signed, narrow = bool(attribute(node, "signed", 1)), bool(attribute(node, "narrow", 1))
        width = int(bits.ravel()[0])
        value = graph.constant(node.input[0])
        if value is not None:
            self._constant(graph, node, value, scale, width, signed, narrow)
        else:
            self._activation(graph, node, scale, width, signed, narrow)
        return True

    def _activation(self, graph: Graph, node: NodeProto, scale: np.ndarray, width: int, signed: bool, narrow: bool) -> None:
        if width != 8 or not signed or narrow:
            kind = f"{'' if signed else 'U'}INT{width}{' narrow' if narrow else ''}"
            raise PassRefusal(f"{node.name}: an activation of {kind}; supported is INT8, -128..127")
        if scale.size != 1:
            raise PassRefusal(f"{node.name}: {scale.size} scales for one activation; supported is one scale per tensor")
        integer = graph.new_name(node.name.removesuffix("_quant") or node.output[0])
        step = graph.add_constant(f"{integer}_scale", scale.reshape(()).astype(np.float32))
        zero = graph.add_constant(f"{integer}_zero", np.zeros((), np.int8))
        graph.replace([node], [
            helper.make_node("QuantizeLinear", [node.input[0], step, zero], [integer], name=f"{integer}_quantize"),
            helper.make_node("DequantizeLinear", [integer, step, zero], list(node.output), name=f"{integer}_dequantize"),
        ])  # fmt: skip

    def _constant(self, graph: Graph, node: NodeProto, value: np.ndarray, scale: np.ndarray, width: int, signed: bool,
                  narrow: bool) -> None:  # fmt: skip
        low = -(2 ** (width - 1)) + int(narrow) if signed else 0
        high = 2 ** (width - 1) - 1 if signed else 2**width - 1 - int(narrow)
        codes = np.rint(np.clip(value / scale, low, high))
        kind = np.int8 if low >= -128 and high <= 127 else np.int32
        axes = [a for a, n in enumerate(scale.shape) if n > 1]
        if len(axes) > 1:
            raise PassRefusal(f"{node.name}: a scale of shape {list(scale.shape)}; supported is one per tensor or per channel")
        name = graph.add_constant(f"{node.output[0]}_int", codes.astype(kind))
        step = graph.add_constant(f"{node.output[0]}_step", scale.reshape(-1 if axes else ()).astype(np.float32))
        axis: dict[str, Any] = {"axis": axes[0] + value.ndim - scale.ndim} if axes else {}
        graph.replace([node], [helper.make_node("DequantizeLinear", [name, step], list(node.output), name=node.name, **axis)])
