"""TokenMean: the exact sum over tokens, one requantization; a mean where the token count is 2**shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custom_ops.datatypes import signed_bits
from custom_ops.hw.cost import Memory, Part, output, requantizers
from custom_ops.hw.node import HwNode, HwOp, Site
from custom_ops.hw.timing import BUFFER, NEVER, Times
from custom_ops.op import INT8, OpError
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS

LATENCY = 7  # cycles from a beat of the last token to its mean


def token_mean(x, *, shift=0, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [N, T, C] -> int8 [N, 1, C]: clip(round(sum_t x / 2**shift), lo, hi)."""
    total = x.sum(axis=1, keepdims=True, dtype=np.int32)
    return requant(total, 1, 0, shift, rounding=rounding, lo=lo, hi=hi)



@dataclass(frozen=True)
class TokenMeanTiming:
    """left[n, f] = taken[n, T - 1, f] + LATENCY of T tokens of F beats; whatever beat comes waits for room for a mean."""

    tokens: int
    folds: int
    reach: ClassVar = BUFFER

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        return [taken[0].reshape(-1, self.tokens, self.folds)[:, -1].ravel() + LATENCY]

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        image, beat = np.divmod(np.arange(len(taken[0])), self.tokens * self.folds)
        means = image * self.folds + np.maximum(beat - (self.tokens - 1) * self.folds, 0)  # begun before this beat
        return [np.where(means < BUFFER, NEVER, left[0][np.maximum(means - BUFFER, 0)] + 1)]


class TokenMean(HwOp):
    """Global average pooling over the tokens of an image."""

    inputs = ("x",)
    types: ClassVar = {"x": (INT8,)}
    attributes: ClassVar = {"shift": 0, "rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(token_mean)
    body = """
  x_32 = Cast <to = 6> (x)
  tokens = Constant <value_ints = [1]> ()
  total = ReduceSum <keepdims = 1> (x_32, tokens)
  shift = Constant <value_int: int = @shift> ()
""" + requant_body("total", affine=False)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)
        if not 0 <= self.get_nodeattr("shift") <= 31:
            raise OpError(f"{self.label}: shift={self.get_nodeattr('shift')} must be in 0..31")

    def plan(self, site: Site) -> HwNode:
        """A running sum per channel; the means leave after the last token."""
        tokens, channels = site.shape(rank=3)
        pe = site.fold("PE", channels, "channels")
        bits = signed_bits(-128 * tokens, 127 * tokens)
        folds, shift = channels // pe, site.attribute("shift")
        counters = [Part("counter", 1, (folds,)), Part("counter", 1, (tokens,))]
        memory = Memory("sum", channels // pe, pe * bits, rom=False, distributed=True)
        return site.build(
            [site.folded((tokens, channels), pe)],
            [site.folded((1, channels), pe)],
            cycles=tokens * channels // pe,
            memories=[memory],
            accumulator_bits=bits,
            parts=[*counters, Part("accumulator", pe, (bits,)), requantizers(pe, bits, shift, shift), output(pe, folds)],
            timing=TokenMeanTiming(tokens, channels // pe),
        )
