"""PSARequant in hardware: channel_requant."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from accel.finn.backend import InstanceBackend
from accel.instance import Instance, Rounding, channel_requant
from custom_ops.finn.psa_requant import PSARequant


class PSARequant_rtl(InstanceBackend, PSARequant):
    """PE lanes of multiply, add, shift, round and clip."""

    module: ClassVar = "channel_requant"

    def instance(self, constants: list[np.ndarray]) -> Instance:
        mult, bias, shift = constants
        rounding = Rounding(self.get_nodeattr("rounding"), self.get_nodeattr("lo"), self.get_nodeattr("hi"))
        return channel_requant(self.onnx_node.name, mult, bias, shift, math.prod(self.get_normal_input_shape()), self.pe, rounding,
                               self.get_input_datatype().bitwidth())  # fmt: skip
