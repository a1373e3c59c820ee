"""PSALUT: a table per channel in FINN; what a learned function is once its input and output are INT8."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from qonnx.core.datatype import BaseDataType

from custom_ops.channel_lut import FULL, LOWEST, channel_lut
from custom_ops.finn.cost import CONTROL_LUT, LANE_LUT
from custom_ops.finn.finn_op import FinnOp
from custom_ops.hw.node import Memory
from custom_ops.op import INT8, UINT8, OpError

MOST_LANES = 100  # channel_lut numbers its lanes' files with two digits
KINDS = {"INT8": (np.int8, LOWEST[INT8]), "UINT8": (np.uint8, LOWEST[UINT8])}  # datatype -> its numpy type and lowest code


class PSALUT(FinnOp):
    """x INT8 or UINT8 [..., C], table INT8 [C, 256] -> INT8 [..., C]: y[..., c] = table[c, x[..., c] - lowest code of x]."""

    parameter_datatypes: ClassVar = ("INT8",)

    @property
    def pe(self) -> int:
        pe = super().pe
        if pe > MOST_LANES:
            raise OpError(f"{self.label}: PE={pe} is above {MOST_LANES} lanes")
        return pe

    @property
    def lowest(self) -> int:
        """The code whose value stands first in the table."""
        return KINDS[self.get_nodeattr("inputDataType")][1]

    def check_input(self, datatype: BaseDataType) -> None:
        if datatype.name not in KINDS:
            raise OpError(f"{self.label}: its input is {datatype.name}; its tables are for {' or '.join(KINDS)}")

    def values(self, x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        (table,) = parameters
        return channel_lut(x.astype(KINDS[self.get_nodeattr("inputDataType")][0]), table.astype(np.int8), lowest=self.lowest)

    def memories(self) -> list[Memory]:
        """Each lane reads a memory of its own, its channels' tables one behind the other."""
        return [Memory("table", self.get_nodeattr("NumChannels") // self.pe * FULL, 8)] * self.pe

    def lut_estimation(self, fpgapart: str) -> int:
        return CONTROL_LUT + self.pe * LANE_LUT

    def get_op_and_param_counts(self) -> dict[str, int]:
        return {"param_table_8b": self.get_nodeattr("NumChannels") * FULL}
