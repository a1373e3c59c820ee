"""PSALUT in hardware: channel_lut."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from accel.finn.backend import InstanceBackend
from accel.instance import Instance, channel_lut
from custom_ops.finn.psa_lut import PSALUT


class PSALUT_rtl(InstanceBackend, PSALUT):
    """PE block memories, one a lane."""

    module: ClassVar = "channel_lut"

    def instance(self, constants: list[np.ndarray]) -> Instance:
        table = constants[0].astype(np.int8)
        return channel_lut(self.onnx_node.name, table, math.prod(self.get_normal_input_shape()), self.pe, self.lowest)
