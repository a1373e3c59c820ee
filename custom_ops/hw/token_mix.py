"""TokenMix: a matrix times each channel's tokens, requantized per token: a linear layer across the image."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.hw.cost import Part, written_by_lanes
from custom_ops.hw.mat_vec import checked_accumulator_bits
from custom_ops.hw.matrix import FOLDING, image_cycles, matrix_folding
from custom_ops.hw.matrix_timing import Core, TokenMixTiming, read_cycles
from custom_ops.hw.node import HwNode, HwOp, Memory, Site
from custom_ops.op import INT8, INT32
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS


def token_mix(x, weight, bias, shift, *, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [N, T, C], weight int8 [U, T], bias and shift int32 [U] -> int8 [N, U, C]:

    y[n, u, c] = requant(sum_t weight[u, t] * x[n, t, c] + bias[u], shift[u]); the sum is exact.
    """
    accumulator = np.matmul(weight.astype(np.int32), x.astype(np.int32)) + np.asarray(bias)[:, None]
    return requant(accumulator, 1, 0, shift, axis=-2, rounding=rounding, lo=lo, hi=hi)


class TokenMix(HwOp):
    """Multiplies from the left, so tokens stay outer and channels inner: no transpose in software either."""

    inputs = ("x", "weight", "bias", "shift")
    types: ClassVar = {"x": (INT8,), "weight": (INT8,), "bias": (INT32,), "shift": (INT32,)}
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    folding: ClassVar = FOLDING
    reference = staticmethod(token_mix)
    body = """
  product = MatMulInteger (weight, x)
  last = Constant <value_ints = [-1]> ()
  bias_column = Unsqueeze (bias, last)
  accumulator = Add (product, bias_column)
""" + requant_body("accumulator", axis=-2, affine=False)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)

    def plan(self, site: Site) -> HwNode:
        """PE channels and SIMD tokens a cycle; two images in one memory, one written while one is read."""
        tokens, channels = site.shape(rank=3)
        weight = site.initializers.get(self.onnx_node.input[1])
        rows = weight.shape[0] if weight is not None and weight.ndim == 2 else 0
        weight = site.constant(1, (rows, tokens), np.int8)
        bias = site.constant(2, (rows,), np.int32)
        shift = site.shift(3, rows)
        folding = matrix_folding(site, (channels, "channels"), (tokens, "tokens"), "PE", (channels, channels))
        bits = checked_accumulator_bits(site, weight, bias)
        wide = max(folding.pe, folding.in_lanes)
        memories = [
            Memory("weight", rows * (tokens // folding.simd), 8 * folding.simd),
            Memory("param", rows, site.parameter_bits(bias, shift)),
            Memory("image", 2 * tokens // folding.simd * (channels // wide), 8 * folding.simd * wide, rom=False),
        ]
        words, steps = channels // wide, tokens // folding.simd
        core = Core(folding.pe, folding.simd, folding.out_lanes, steps, read_cycles(2 * steps * words))
        sizes = [2 * tokens * channels // folding.in_lanes, wide // folding.in_lanes, words, folding.simd, 2 * steps * words]
        sizes += [steps, wide // folding.pe, words, rows, memories[0].depth, steps, channels // folding.pe, rows]
        counters = [Part("counter", 1, (n,)) for n in sizes]
        counters += [Part("adder", 3, ((2 * steps * words).bit_length(),)), Part("choice", 2, (memories[0].depth.bit_length(),))]
        counters += [Part("control", 4)]
        counters.append(Part("selector", 1, (wide // folding.pe, 8 * folding.pe * folding.simd)))
        return site.build(
            [site.folded((tokens, channels), folding.in_lanes)],
            [site.folded((rows, channels), folding.out_lanes)],
            cycles=image_cycles(rows * tokens * channels, tokens * channels, rows * channels, folding),
            memories=memories,
            accumulator_bits=bits,
            multipliers=folding.multipliers,
            parts=[*counters, *folding.parts(core, bits, shift, rows * channels)],
            priced=[*memories[:2], *written_by_lanes(memories[2], 8 * folding.in_lanes)],
            timing=TokenMixTiming(core, tokens, rows, words, wide // folding.in_lanes, wide // folding.pe),
        )
