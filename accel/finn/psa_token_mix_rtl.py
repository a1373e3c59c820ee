"""PSATokenMix in hardware: token_mix."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from accel.finn.backend import InstanceBackend
from accel.instance import Folding, Instance, Rounding, token_mix
from custom_ops.finn.psa_token_mix import PSATokenMix


class PSATokenMix_rtl(InstanceBackend, PSATokenMix):
    """PE channels, SIMD tokens a cycle; two images of memory."""

    module: ClassVar = "token_mix"

    def instance(self, constants: list[np.ndarray]) -> Instance:
        weight, bias, shift = constants
        rounding = Rounding(self.get_nodeattr("rounding"), self.get_nodeattr("lo"), self.get_nodeattr("hi"))
        folding = Folding(self.pe, self.simd, self.pe, self.pe)
        return token_mix(self.onnx_node.name, weight.astype(np.int8), bias, shift, self.get_nodeattr("NumChannels"), folding, rounding)
