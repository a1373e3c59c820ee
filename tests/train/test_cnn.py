"""The convolutional teacher."""

import pytest
import torch
from torch import nn

from tests.conftest import random_images
from train.cnn import Residual, ResidualCNN


@pytest.mark.parametrize("width", [2, 3, 8])
def test_pixels_in_logits_out(width: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = ResidualCNN(width)
    logits = model(torch.from_numpy(random_images(5, seed=0)))
    assert logits.shape == (5, 10) and logits.dtype == torch.float32
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_three_stages_halve_the_size_and_double_the_channels() -> None:
    model = ResidualCNN(8)
    shapes: list[tuple[int, ...]] = []
    for module in (model.stem, *model.stages):
        module.register_forward_hook(lambda m, inputs, output: shapes.append(tuple(output.shape)))
    model(torch.from_numpy(random_images(2, seed=0)))
    assert shapes == [(2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4)]


def test_a_residual_adds_its_input() -> None:
    torch.manual_seed(0)
    module = Residual(4).eval()
    nn.init.zeros_(module.second[1].weight)  # type: ignore[arg-type]
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(module(x), x)
