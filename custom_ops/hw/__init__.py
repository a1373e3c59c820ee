"""The hardware nodes (domain psaflow.hw), one RTL module each: values as ONNX ops, cost as HwNodes."""

from custom_ops.hw.channel_lut import ChannelLUT
from custom_ops.hw.channel_requant import ChannelRequant
from custom_ops.hw.fifo import Fifo
from custom_ops.hw.fork import Fork
from custom_ops.hw.mat_vec import MatVec
from custom_ops.hw.node import FoldingError, HwNode, HwOp, Memory, divisors, hardware_node
from custom_ops.hw.patches import Patches
from custom_ops.hw.residual_add import ResidualAdd
from custom_ops.hw.token_mean import TokenMean
from custom_ops.hw.token_mix import TokenMix
from custom_ops.hw.width_converter import WidthConverter

__all__ = [
    "OPS", "ChannelLUT", "ChannelRequant", "Fifo", "FoldingError", "Fork", "HwNode", "HwOp", "MatVec",
    "Memory", "Patches", "ResidualAdd", "TokenMean", "TokenMix", "WidthConverter", "divisors",
    "hardware_node",
]  # fmt: skip

OPS: dict[str, type[HwOp]] = {
    op.__name__: op
    for op in (
        Patches, ChannelLUT, ChannelRequant, MatVec, TokenMix,
        ResidualAdd, TokenMean, Fork, Fifo, WidthConverter,
    )
}  # fmt: skip
