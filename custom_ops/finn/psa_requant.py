"""PSARequant: an accumulator or an int8 stream to INT8 in FINN, by multiply, add, shift and round.

FINN's own Requant rounds half up and takes float32 scales, and its Thresholding stores 255 thresholds a channel.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from custom_ops.finn.cost import CONTROL_LUT, LANE_LUT, REQUANT_LUT_PER_BIT, memory_luts
from custom_ops.finn.finn_op import FinnOp
from custom_ops.hw.node import Memory
from custom_ops.op import OpError
from custom_ops.requant import requant
from custom_ops.rounding import ROUNDINGS

DSP_OPERANDS = (27, 18)  # bits of a DSP48E2's multiplier


class PSARequant(FinnOp):
    """x INT [..., C]; mult, bias, shift int32 [C] -> INT8 [..., C]: clip(round((x * mult + bias) / 2**shift), lo, hi).

    multBits, biasBits and shiftBits are the widths of the parameters in the module; multBits = 0: mult is 1 everywhere, no multiplier.
    """

    parameter_datatypes: ClassVar = ("INT32", "INT32", "INT32")

    def get_nodeattr_types(self) -> dict[str, Any]:
        return super().get_nodeattr_types() | {
            "rounding": ("s", False, ROUNDINGS[0], set(ROUNDINGS)),
            "lo": ("i", False, -128),
            "hi": ("i", False, 127),
            "multBits": ("i", True, 0),
            "biasBits": ("i", True, 0),
            "shiftBits": ("i", True, 0),
        }

    def values(self, x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        rounding, lo, hi = (self.get_nodeattr(name) for name in ("rounding", "lo", "hi"))
        return requant(x, *parameters, rounding=rounding, lo=lo, hi=hi)

    def verify_node(self) -> None:
        super().verify_node()
        lo, hi = self.get_nodeattr("lo"), self.get_nodeattr("hi")
        if not -128 <= lo <= hi <= 127:
            raise OpError(f"{self.label}: lo={lo}, hi={hi} must satisfy -128 <= lo <= hi <= 127")

    def memories(self) -> list[Memory]:
        width = sum(self.get_nodeattr(name) for name in ("multBits", "biasBits", "shiftBits"))
        return [Memory("param", self.get_nodeattr("NumChannels") // self.pe, width * self.pe)]

    def dsp_estimation(self, fpgapart: str) -> int:
        """DSP48E2 slices of the multipliers, by the tiles that the wider operand takes."""
        wide, narrow = sorted((self.get_nodeattr("multBits"), self.get_input_datatype().bitwidth()), reverse=True)
        return self.pe * -(-wide // DSP_OPERANDS[0]) * -(-narrow // DSP_OPERANDS[1]) if self.get_nodeattr("multBits") else 0

    def lut_estimation(self, fpgapart: str) -> int:
        value_bits = max(self.get_input_datatype().bitwidth() + self.get_nodeattr("multBits"), self.get_nodeattr("biasBits")) + 1
        return CONTROL_LUT + self.pe * (LANE_LUT + value_bits * REQUANT_LUT_PER_BIT) + memory_luts(self.memories())

    def get_op_and_param_counts(self) -> dict[str, int]:
        return {"param_requant": 3 * self.get_nodeattr("NumChannels")}
