"""A ratio of scales as an integer multiplier and a shift, with a bound on what that costs.

A Requant computes y = clip(round(v), lo, hi), v = ((acc + added) * mult + bias) / 2**shift, for the real number
v* = acc * ratio + offset, ratio = (scale of acc) / (scale of y). Where ratio is a power of two and the offset a whole number
of accumulator units, v = v*. Elsewhere, per channel, shift is the largest in 0..31 for which mult = round(ratio * 2**shift) stays
below 2**31; added = round(offset / ratio) takes the offset's bulk at the accumulator's scale, so that
bias = round(offset * 2**shift - added * mult) fits int32. Then for every accumulator whose v* is not clipped, that is
|acc| <= A = (128.5 + |offset|) / |ratio|,

    |v - v*| <= A * |mult / 2**shift - ratio| + 2**-(shift + 1),   in units of y before rounding,

so y differs from round(v*) by at most one, and only where v* lies within that of a rounding boundary. With 2**-10 < ratio < 1 the
bound is below 2**-13.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper

from passes.graph import Graph, PassRefusal, get_metadata, set_metadata
from passes.quantized import HIGH, LOW, make_requant, scalar_if_equal

log = logging.getLogger(__name__)

ERRORS = "requantization_errors"  # key of the model's metadata: {tensor: [bound of ours, bound of the float graph's own]}
LARGEST_SHIFT = 31
INT32 = 2**31
EXACT_MULT = 2**23  # the largest power of two by which an exact Requant multiplies
FLOAT32 = 2.0**-24  # relative error of one float32 operation
LARGEST_ERROR = 1 / 16  # of a code; beyond this a multiplier would be an approximation for its own sake
FULL_SCALE = 128.5  # |y| beyond which it is clipped


@dataclass(frozen=True)
class Scaling:
    """Parameters of a Requant, int32 [n] each, and how far its value before rounding may be off, in units of y."""

    added: np.ndarray
    mult: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    error: float
    exact: bool  # bit for bit what float32 arithmetic gives, rounding included


def scaling(ratio: np.ndarray, offset: np.ndarray, zero: int, what: str) -> Scaling:
    """Of v* = acc * ratio + offset + zero; ratio and offset float64 [n], zero the code of 0 in y. Refuses with `what`."""
    ratio, offset = np.broadcast_arrays(np.asarray(ratio, np.float64).ravel(), np.asarray(offset, np.float64).ravel())
    if not (np.isfinite(ratio).all() and np.isfinite(offset).all()):
        raise PassRefusal(f"{what}: a scale or an offset that is not finite")
    return exact_scaling(ratio, offset, zero) or _rounded(ratio, offset, zero, what)


def exact_scaling(ratio: np.ndarray, offset: np.ndarray, zero: int) -> Scaling | None:
    """Like `scaling` where the ratios are powers of two and the offsets whole numbers of accumulator units, both [n]; else None."""
    mantissa, exponent = np.frexp(ratio)
    exponent = 1 - exponent  # ratio = 2**-exponent
    if np.any(mantissa != 0.5) or exponent.max() > LARGEST_SHIFT or 2.0 ** -exponent.min() > EXACT_MULT:
        return None
    codes, mult, shift = offset / ratio, 2 ** np.maximum(-exponent, 0), np.maximum(exponent, 0)
    bias = codes * mult + zero * 2.0**shift
    if np.any(codes != np.rint(codes)) or np.any(np.abs(bias) >= INT32):
        return None
    # an odd zero point sends ties to the odd code
    ties = bool(zero % 2) and bool(np.any(shift > 0))
    return Scaling(np.zeros(len(ratio), np.int32), _int32(mult), _int32(bias), _int32(shift), 0.0, not ties)


def _rounded(ratio: np.ndarray, offset: np.ndarray, zero: int, what: str) -> Scaling:
    total = offset + zero
    largest = np.abs(ratio)
    if np.any(largest >= INT32 - 1):
        raise PassRefusal(f"{what}: a multiplier of {largest.max():.3g}, beyond int32; its scales do not fit together")
    shift = np.clip(np.floor(np.log2((INT32 - 1) / np.maximum(largest, 2.0**-60))), 0, LARGEST_SHIFT)
    # a channel that is constant needs its shift for the offset alone
    shift = np.where(ratio == 0, np.clip(np.floor(np.log2((INT32 - 1) / np.maximum(np.abs(total), 1))), 0, shift), shift)
    mult = np.rint(ratio * 2.0**shift)
    added = np.rint(np.divide(total, ratio, out=np.zeros_like(ratio), where=mult != 0))
    bias = np.rint(total * 2.0**shift - added * mult)
    if np.any(np.abs(added) >= INT32) or np.any(np.abs(bias) >= INT32):
        raise PassRefusal(f"{what}: an offset of {np.abs(total).max():.3g} codes, beyond int32 at its accumulator's scale")
    reach = np.minimum((FULL_SCALE + np.abs(total)) / np.maximum(largest, 2.0**-60), INT32)
    error = float((reach * np.abs(mult / 2.0**shift - ratio) + 2.0 ** -(shift + 1)).max())
    if error > LARGEST_ERROR:
        raise PassRefusal(f"{what}: a ratio of scales of {largest[largest > 0].min():.3g} would be {error:.2g} codes off with a shift of "
                          f"{LARGEST_SHIFT}, more than {LARGEST_ERROR}; bring its scales closer together")  # fmt: skip
    return Scaling(_int32(added), _int32(mult), _int32(bias), _int32(shift), error, False)


def _int32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64).astype(np.int32)


def requantize(graph: Graph, source: str, target: str, parameters: Scaling, *, axis: int = -1, lo: int = LOW, hi: int = HIGH,
               float_error: float = 0.0) -> list[NodeProto]:  # fmt: skip
    """The nodes from an int32 accumulator `source` to int8 codes `target`; notes and logs the error where there is one.

    float_error: how far the float graph's own arithmetic may be off, in units of y.
    """
    new = []
    if np.any(parameters.added != 0):
        column = parameters.added.reshape(-1, *[1] * (-1 - axis))
        shifted, constant = graph.new_name(f"{target}_shifted"), graph.add_constant(f"{target}_added", column)
        new.append(helper.make_node("Add", [source, constant], [shifted], name=shifted))
        source = shifted
    if not parameters.exact:
        note_error(graph.model.model, target, parameters.error, float_error)
        log.info("%s: multiplier of %d bits, at most %.2g codes off before rounding", target,
                 int(np.abs(parameters.mult.astype(np.int64)).max()).bit_length(), parameters.error)  # fmt: skip
    new.append(make_requant(graph, source, target, target, scalar_if_equal(parameters.mult), parameters.bias, parameters.shift,
                            axis=axis, lo=lo, hi=hi))  # fmt: skip
    return new


def note_error(model: ModelProto, tensor: str, bound: float, float_error: float) -> None:
    """Write a tensor's bounds to the model's metadata: of our arithmetic and of float32's, in units of the tensor."""
    set_metadata(model, ERRORS, json.dumps({**errors_of(model), tensor: [bound, float_error]}))


def errors_of(model: ModelProto) -> dict[str, tuple[float, float]]:
    """Tensor -> its bounds, of all that is not exact; {} for a model whose scales are powers of two."""
    text = get_metadata(model, ERRORS) or "{}"
    try:
        return {tensor: (float(ours), float(floats)) for tensor, (ours, floats) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise PassRefusal(f"metadata {ERRORS}={text[:40]!r} is none of ours; leave it out of the model") from None


def float_error(terms: int, size: np.ndarray, scale: float = 1.0) -> float:
    """Bound of what float32 makes of a sum: |computed - real| <= gamma * size, gamma = k u / (1 - k u), k operations in a row, u = 2**-24.

    size: the sum of the absolute values of its terms (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
    """
    k = terms * FLOAT32
    return float(k / (1 - k) * np.max(size) / scale)
