"""A small residual convolutional network: the teacher that a machine without a GPU can train in minutes.

Nothing of it is deployed: students only learn from its logits. Pixels uint8 [N, H, W, 3] in, logits float [N, classes] out.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from train.resmlp import Normalise


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU on [N, C, H, W]."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, channels), convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class ResidualCNN(nn.Module):
    """A stem of width/2 channels at full size, then three stages of halved size and width, 2 width and 4 width channels."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.stem = convolution(3, width // 2)
        sizes = [width // 2, width, 2 * width, 4 * width]
        self.stages = nn.Sequential(*(nn.Sequential(convolution(i, o, stride=2), Residual(o)) for i, o in pairwise(sizes)))
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.normalise(pixels).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return self.head(self.stages(self.stem(x)).mean((2, 3)))
