"""Brevitas quantizers of the integer contract: INT8 with power-of-two scales, biases at the accumulator's scale."""

from __future__ import annotations

from brevitas.nn.quant_layer import QuantWeightBiasInputOutputLayer
from brevitas.quant.fixed_point import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerChannelFixedPoint,
    Int8WeightPerTensorFixedPoint,
)
from brevitas.quant.scaled_int import Int24Bias
from torch import Tensor

from train.resmlp import Affine

SMALLEST_ACTIVATION_SCALE = 2.0**-8  # an all-zero tensor must not give a scale of 2**-33
SMALLEST_WEIGHT_SCALE = 2.0**-15  # a dead row would otherwise saturate its bias
WEIGHT_STEPS = 128  # Brevitas clamps a weight's largest magnitude, which is the scale times this


class ActivationQuant(Int8ActPerTensorFixedPoint):
    """INT8, one power-of-two scale per tensor, learned from statistics of the first training batches."""

    scaling_min_val = SMALLEST_ACTIVATION_SCALE
    collect_stats_steps = 40


class WeightQuant(Int8WeightPerChannelFixedPoint):
    """Narrow INT8, one power-of-two scale per output channel."""

    scaling_min_val = SMALLEST_WEIGHT_SCALE * WEIGHT_STEPS


class ClassifierWeightQuant(Int8WeightPerTensorFixedPoint):
    """Narrow INT8, one scale for all classes, so that the largest integer is the largest logit."""

    scaling_min_val = SMALLEST_WEIGHT_SCALE * WEIGHT_STEPS


BiasQuant = Int24Bias


def plain(value: object) -> Tensor:
    """The tensor inside a QuantTensor; a plain tensor (as under export) stays itself."""
    return value.value if hasattr(value, "value") else value  # type: ignore[return-value]


class QuantAffine(QuantWeightBiasInputOutputLayer, Affine):  # type: ignore[misc]
    """y = weight * x + bias per channel on [..., C], with quantized weight (a scale per channel), bias and output."""

    def __init__(self, channels: int) -> None:
        Affine.__init__(self, channels)
        QuantWeightBiasInputOutputLayer.__init__(
            self, weight_quant=WeightQuant, bias_quant=BiasQuant, input_quant=None, output_quant=ActivationQuant,
            return_quant_tensor=True,
        )  # fmt: skip

    @property
    def output_channel_dim(self) -> int:
        return 0

    @property
    def out_channels(self) -> int:
        return int(self.weight.numel())  # type: ignore[operator]

    @property
    def channelwise_separable(self) -> bool:
        return True

    def forward(self, x):
        return self.forward_impl(x)  # type: ignore[operator]

    def inner_forward_impl(self, x, quant_weight, quant_bias):
        return plain(x) * plain(quant_weight) + plain(quant_bias)
