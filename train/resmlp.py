"""ResMLP for small images with any per-channel activation (Singh & Bazargan 2024; Touvron et al., 2021), in float.

Two forms: `ResMLP` trains with BatchNorm; `absorb` turns it into `AbsorbedResMLP`, where BatchNorms and branch scales
have become part of their neighbours wherever the neighbouring linear runs along channels. Tensors are channel-last:
pixels uint8 [N, H, W, 3], tokens float [N, T, C], logits float [N, classes].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from train import fused, parallel
from train.functions import activation

MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's pixels in 0..1, per colour
STD = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network; all counts, `image` and `patch` in pixels."""

    activation: str = "lerp_psa"
    embed: int = 96
    hidden: int = 96
    blocks: int = 4
    image: int = 32
    patch: int = 4
    classes: int = 10
    grid: int = 64  # points of the interpolated functions on [-4, 4]
    expansion: int = 8  # features of PSA

    @property
    def tokens(self) -> int:
        return (self.image // self.patch) ** 2

    @property
    def patch_features(self) -> int:
        return self.patch * self.patch * 3

    @property
    def learns_functions(self) -> bool:
        return self.activation != "relu"

    def make_activation(self, channels: int) -> nn.Module:
        return activation(self.activation, channels, grid=self.grid, expansion=self.expansion)


class Normalise(nn.Module):
    """uint8 pixels [..., 3] -> float: gain * pixel + offset per colour, the usual (pixel / 255 - mean) / std."""

    gain: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gain", 1 / (255 * torch.tensor(STD)), persistent=False)
        self.register_buffer("offset", -torch.tensor(MEAN) / torch.tensor(STD), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() * self.gain + self.offset


def patches(x: Tensor, size: int) -> Tensor:
    """[N, H, W, F] -> [N, (H/size)*(W/size), size*size*F]: patches row by row, pixels row by row, colours innermost."""
    n, height, width, features = x.shape
    x = x.reshape(n, height // size, size, width // size, size, features).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, (height // size) * (width // size), size * size * features)


class Affine(nn.Module):
    """y = weight * x + bias per channel, on [..., C]."""

    def __init__(self, channels: int, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), weight))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


class TokenNorm(nn.BatchNorm1d):
    """BatchNorm per channel on [N, T, C], over the images of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        if not (self.training and parallel.world() > 1):
            return super().forward(rows).view_as(x)
        mean, variance, count = parallel.batch_moments(rows)
        self.track(mean.detach(), variance.detach(), count)
        return ((rows - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias).view_as(x)

    @torch.no_grad()
    def track(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Update the running statistics with a batch's mean and biased variance [C] over `rows` rows."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (rows / (rows - 1)), self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)

    def as_affine(self) -> tuple[Tensor, Tensor]:
        """(weight, bias) of the same map in evaluation."""
        assert self.running_var is not None and self.running_mean is not None
        weight = self.weight / (self.running_var + self.eps).sqrt()
        return weight, self.bias - self.running_mean * weight


def mix_tokens(linear: nn.Linear, x: Tensor) -> Tensor:
    """`linear` along the tokens of x [N, T, C]: W x + b, which needs no transposes."""
    return torch.matmul(linear.weight, x) + linear.bias[:, None]


class Block(nn.Module):
    """Token mixer, then channel mixer, each a residual branch scaled per channel."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.token_norm = TokenNorm(a.embed)
        self.token_linear = nn.Linear(a.tokens, a.tokens)
        self.token_scale = Affine(a.embed, 0.1)
        self.channel_norm = TokenNorm(a.embed)
        self.act1 = a.make_activation(a.embed) if a.learns_functions else nn.Identity()
        self.fc1 = nn.Linear(a.embed, a.hidden)
        self.act2 = a.make_activation(a.hidden)
        self.fc2 = nn.Linear(a.hidden, a.embed)
        self.channel_scale = Affine(a.embed, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        if fused.available(self, x):
            return fused.train_block(self, x)
        x = x + self.token_scale(mix_tokens(self.token_linear, self.token_norm(x)))
        hidden = self.fc1(self.act1(self.channel_norm(x)))
        return x + self.channel_scale(self.fc2(self.act2(hidden)))


class ResMLP(nn.Module):
    """The float network in training."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.normalise = Normalise()
        self.embed = nn.Linear(a.patch_features, a.embed)
        self.blocks = nn.ModuleList(Block(a) for _ in range(a.blocks))
        self.norm = TokenNorm(a.embed)
        self.head = nn.Linear(a.embed, a.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.embed(patches(self.normalise(pixels), self.architecture.patch))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class AbsorbedBlock(nn.Module):
    """A block without BatchNorm: the token mixer keeps an affine on either side, the channel mixer only what a function needs."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.token_in = Affine(a.embed)
        self.token_linear = nn.Linear(a.tokens, a.tokens)
        self.token_out = Affine(a.embed)
        self.channel_in = Affine(a.embed) if a.learns_functions else nn.Identity()
        self.act1 = a.make_activation(a.embed) if a.learns_functions else nn.Identity()
        self.fc1 = nn.Linear(a.embed, a.hidden)
        self.act2 = a.make_activation(a.hidden)
        self.fc2 = nn.Linear(a.hidden, a.embed)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.token_out(mix_tokens(self.token_linear, self.token_in(x)))
        return x + self.fc2(self.act2(self.fc1(self.act1(self.channel_in(x)))))


class AbsorbedResMLP(nn.Module):
    """The float network after `absorb`: what quantization-aware training starts from."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.normalise = Normalise()
        self.embed = nn.Linear(a.patch_features, a.embed)
        self.blocks = nn.ModuleList(AbsorbedBlock(a) for _ in range(a.blocks))
        self.head = nn.Linear(a.embed, a.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.embed(patches(self.normalise(pixels), self.architecture.patch))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def _set(affine: Affine | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Copy into an Affine's or Linear's `weight` and `bias`."""
    affine.weight.copy_(weight)
    affine.bias.copy_(bias)


@torch.no_grad()
def absorb(model: ResMLP) -> AbsorbedResMLP:
    """BatchNorms and branch scales into their neighbours; the result computes what `model` computes in evaluation."""
    out = AbsorbedResMLP(model.architecture).to(model.head.weight.device)
    out.embed.load_state_dict(model.embed.state_dict())
    for block, absorbed in zip(model.blocks, out.blocks, strict=True):
        source, target = cast(Block, block), cast(AbsorbedBlock, absorbed)
        _set(target.token_in, *source.token_norm.as_affine())
        target.token_linear.load_state_dict(source.token_linear.state_dict())
        target.token_out.load_state_dict(source.token_scale.state_dict())
        weight, bias = source.channel_norm.as_affine()
        if isinstance(target.channel_in, Affine):
            _set(target.channel_in, weight, bias)
            target.fc1.load_state_dict(source.fc1.state_dict())
        else:
            _set(target.fc1, source.fc1.weight * weight, source.fc1.bias + source.fc1.weight @ bias)
        target.act1.load_state_dict(source.act1.state_dict())
        target.act2.load_state_dict(source.act2.state_dict())
        scale = source.channel_scale
        _set(target.fc2, source.fc2.weight * scale.weight[:, None], source.fc2.bias * scale.weight + scale.bias)
    weight, bias = model.norm.as_affine()
    _set(out.head, model.head.weight * weight, model.head.bias + model.head.weight @ bias)
    return out.eval()
