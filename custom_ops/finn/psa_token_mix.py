"""PSATokenMix: a matrix times each channel's tokens in FINN, requantized per token.

FINN's MVAU multiplies along the channels, the innermost axis. Along the tokens it would need a transpose before and one behind, each with
two images of memory; this unit keeps two images in all and gives the tokens in the order in which they came.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from custom_ops.finn.cost import CONTROL_LUT, LANE_LUT, REQUANT_LUT_PER_BIT, TREE_LUT, memory_luts
from custom_ops.finn.finn_op import FinnOp
from custom_ops.hw.node import Memory
from custom_ops.hw.token_mix import token_mix
from custom_ops.op import OpError
from custom_ops.rounding import ROUNDINGS


class PSATokenMix(FinnOp):
    """x INT8 [1, T, 1, C], weight INT8 [U, T], bias and shift int32 [U] -> INT8 [1, U, 1, C]:

    y[u, c] = clip(round((sum_t weight[u, t] * x[t, c] + bias[u]) / 2**shift[u]), lo, hi). MW = T, MH = U as in FINN's MVAU; SIMD tokens of
    PE channels are multiplied in a cycle. accBits, biasBits and shiftBits are the widths of the sum and the parameters.
    """

    parameter_datatypes: ClassVar = ("INT8", "INT32", "INT32")

    def get_nodeattr_types(self) -> dict[str, Any]:
        return super().get_nodeattr_types() | {
            "MW": ("i", True, 0),
            "MH": ("i", True, 0),
            "SIMD": ("i", False, 1),
            "rounding": ("s", False, ROUNDINGS[0], set(ROUNDINGS)),
            "lo": ("i", False, -128),
            "hi": ("i", False, 127),
            "accBits": ("i", True, 0),
            "biasBits": ("i", True, 0),
            "shiftBits": ("i", True, 0),
        }

    def check_input(self, datatype) -> None:
        if datatype.name != "INT8":
            raise OpError(f"{self.label}: its input is {datatype.name}; it multiplies INT8")

    def values(self, x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        weight, bias, shift = parameters
        channels = self.get_nodeattr("NumChannels")
        rounding, lo, hi = (self.get_nodeattr(name) for name in ("rounding", "lo", "hi"))
        tokens = x.reshape(1, self.get_nodeattr("MW"), channels).astype(np.int8)
        return token_mix(tokens, weight, bias, shift, rounding=rounding, lo=lo, hi=hi).reshape(self.get_normal_output_shape())

    @property
    def simd(self) -> int:
        """Tokens multiplied in a cycle; OpError where it does not divide them."""
        simd, tokens = self.get_nodeattr("SIMD"), self.get_nodeattr("MW")
        if simd < 1 or tokens % simd:
            raise OpError(f"{self.label}: SIMD={simd} must divide {tokens} tokens")
        return simd

    def get_normal_output_shape(self, ind: int = 0) -> tuple[int, ...]:
        return (1, self.get_nodeattr("MH"), 1, self.get_nodeattr("NumChannels"))

    def get_exp_cycles(self) -> int:
        """The slower of taking an image in and computing one; the two overlap."""
        beats = self.get_nodeattr("NumChannels") // self.pe
        return max(self.get_nodeattr("MH") * beats * (self.get_nodeattr("MW") // self.simd), math.prod(self.get_folded_input_shape()[:-1]))

    def memories(self) -> list[Memory]:
        beats, steps = self.get_nodeattr("NumChannels") // self.pe, self.get_nodeattr("MW") // self.simd
        rows = self.get_nodeattr("MH")
        return [
            Memory("weight", rows * steps, 8 * self.simd),
            Memory("param", rows, self.get_nodeattr("biasBits") + self.get_nodeattr("shiftBits")),
            *(Memory(f"image_{bank}", 2 * steps * beats, 8 * self.pe, rom=False) for bank in range(self.simd)),
        ]

    def dsp_estimation(self, fpgapart: str) -> int:
        return self.pe * self.simd

    def lut_estimation(self, fpgapart: str) -> int:
        lane = self.simd * TREE_LUT + self.get_nodeattr("accBits") * REQUANT_LUT_PER_BIT + LANE_LUT
        return CONTROL_LUT + self.pe * lane + memory_luts(self.memories())

    def get_op_and_param_counts(self) -> dict[str, int]:
        tokens, rows = self.get_nodeattr("MW"), self.get_nodeattr("MH")
        return {"op_mac_8bx8b": rows * tokens * self.get_nodeattr("NumChannels"), "param_weight_8b": rows * tokens}
