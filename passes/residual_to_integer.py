"""A residual addition on integers."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto, helper

from passes.affine_chain import clip_limits
from passes.graph import Graph, PassRefusal, Rewrite
from passes.quantized import HIGH, LOW, Quantized, activation, output_of
from passes.scaling import FULL_SCALE, INT32, LARGEST_SHIFT, Scaling, float_error, requantize, scaling

MOST_LEFT = 16  # 128 * 2**16 + 128 is below 2**24, so that float32 adds exactly


class ResidualToInteger(Rewrite):
    """Q(DQ(a) + DQ(b)) -> Requant(a * 2**i + b * 2**j, shift), both operands first brought to the finer of their scales.

    Scales that are no powers of two apart become integer factors of one shift: a * A + b * B, A = round(s_a / s_y * 2**shift), the
    zero points of a, b and y into the bias; off by at most (|a| + |b|) / 2**(shift + 1) codes. A Relu or Clip before Q becomes lo and hi.
    """

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        if node.op_type != "QuantizeLinear":
            return False
        name, limits, tensor, clips = node.output[0], (-math.inf, math.inf), node.input[0], []
        clip = graph.producer(tensor, "Relu", "Clip")
        if clip is not None and (found := clip_limits(graph, clip)) is not None:
            limits, tensor, clips = found, clip.input[0], [clip]
        add = graph.producer(tensor, "Add")
        operands = [x for x in (activation(graph, i) for i in add.input) if x is not None] if add is not None else []
        if add is None or len(operands) != 2:
            return False
        if len({tuple(graph.shape(t)) for t in (*add.input, tensor)}) > 1:
            raise PassRefusal(f"{name}: a sum of tensors of shapes {[graph.shape(t) for t in add.input]}; supported are equal shapes")
        scale, zero = output_of(graph, node)
        ratios = [float(x.scale) / scale for x in operands]
        parameters, factors = _shifted(operands, ratios, zero, name) or _multiplied(operands, ratios, zero, name)
        new, terms = [], []
        for role, operand, factor in zip("ab", operands, factors, strict=True):
            term = graph.new_name(f"{name}_{role}")
            new.append(helper.make_node("Cast", [operand.tensor], [term], name=term, to=TensorProto.INT32))
            if factor != 1:
                constant = graph.add_constant(f"{term}_factor", np.array(factor, np.int32))
                product = graph.new_name(f"{term}_shifted")
                new.append(helper.make_node("Mul", [term, constant], [product], name=product))
                term = product
            terms.append(term)
        total = graph.new_name(f"{name}_sum")
        new.append(helper.make_node("Add", terms, [total], name=total))
        lo, hi = (int(np.clip(np.rint(np.float32(v) / np.float32(scale)) + zero, LOW, HIGH)) for v in limits)
        size = np.array([sum(256 * float(x.scale) for x in operands)])
        new += requantize(graph, total, name, parameters, lo=lo, hi=hi, float_error=float_error(5, size, scale))
        graph.replace([add, *clips, node], new)
        return True


def _shifted(operands: list[Quantized], ratios: list[float], zero: int, name: str) -> tuple[Scaling, list[int]] | None:
    """(Requant of the sum at the finer scale, the operands' powers of two); None where scales are no powers of two apart."""
    finer = min(ratios)
    lefts = [math.frexp(r / finer) for r in ratios]
    if any(mantissa != 0.5 for mantissa, _ in lefts):
        return None
    factors = [2 ** (exponent - 1) for _, exponent in lefts]
    if max(factors) > 2**MOST_LEFT:
        raise PassRefusal(f"{name}: its operands' scales are 2**{max(factors).bit_length() - 1} apart; up to 2**{MOST_LEFT} their sum "
                          "stays below 2**24")  # fmt: skip
    offset = -sum(x.zero * f for x, f in zip(operands, factors, strict=True))
    return scaling(np.array([finer]), np.array([offset * finer]), zero, name), factors


def _multiplied(operands: list[Quantized], ratios: list[float], zero: int, name: str) -> tuple[Scaling, list[int]]:
    """(Requant by a shift alone, the operands' factors), the shift as large as int32 allows."""
    spans = [max(abs(LOW - x.zero), abs(HIGH - x.zero)) for x in operands]
    most = sum(max(256 * r, FULL_SCALE) for r in ratios) + FULL_SCALE
    shift = min(LARGEST_SHIFT, math.floor(math.log2((INT32 - 1) / most)))
    if shift < 0:
        raise PassRefusal(f"{name}: operands at {max(ratios):.3g} of the output's scale; bring the scales closer together")
    factors = [round(r * 2**shift) for r in ratios]
    bias = zero * 2**shift - sum(x.zero * f for x, f in zip(operands, factors, strict=True))
    error = sum(span * abs(f / 2**shift - r) for span, f, r in zip(spans, factors, ratios, strict=True))
    one = np.ones(1, np.int32)
    return Scaling(0 * one, one, np.array([bias], np.int32), shift * one, error, False), factors
