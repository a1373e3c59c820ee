"""The ResMLP of `train.resmlp.AbsorbedResMLP` with Brevitas quantizers at every point of the integer contract."""

from __future__ import annotations

import numpy as np
import torch
from brevitas.nn import QuantIdentity, QuantLinear
from torch import Tensor, nn

from train.augment import augment
from train.quantizers import ActivationQuant, BiasQuant, ClassifierWeightQuant, QuantAffine, WeightQuant, plain
from train.resmlp import AbsorbedResMLP, Affine, Architecture, Normalise, patches


def _quantizer() -> QuantIdentity:
    return QuantIdentity(act_quant=ActivationQuant, return_quant_tensor=True)


def _linear(inputs: int, outputs: int, *, requantize: bool = True) -> QuantLinear:
    """A linear layer; its output is INT8, or left at the accumulator's scale for a ReLU that follows."""
    return QuantLinear(
        inputs, outputs, bias=True, weight_quant=WeightQuant, bias_quant=BiasQuant,
        output_quant=ActivationQuant if requantize else None, return_quant_tensor=True,
    )  # fmt: skip


class QuantBlock(nn.Module):
    """A block whose every tensor between two operations is INT8."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.token_in = QuantAffine(a.embed)
        self.token_linear = _linear(a.tokens, a.tokens)
        self.token_out = QuantAffine(a.embed)
        self.token_sum = _quantizer()
        if a.learns_functions:
            self.channel_in = Affine(a.embed)
            self.act1 = a.make_activation(a.embed)
            self.act1_quant = _quantizer()
        self.learns_functions = a.learns_functions
        self.fc1 = _linear(a.embed, a.hidden, requantize=a.learns_functions)
        self.act2 = a.make_activation(a.hidden)
        self.act2_quant = _quantizer()
        self.fc2 = _linear(a.hidden, a.embed)
        self.channel_sum = _quantizer()

    def forward(self, x):
        mixed = self.token_linear(self.token_in(x).transpose(1, 2)).transpose(1, 2)
        x = self.token_sum(plain(x) + plain(self.token_out(mixed)))
        hidden = self.act1_quant(self.act1(self.channel_in(plain(x)))) if self.learns_functions else x
        hidden = self.act2_quant(self.act2(plain(self.fc1(hidden))))
        return self.channel_sum(plain(x) + plain(self.fc2(hidden)))


class QuantResMLP(nn.Module):
    """uint8 pixels [N, H, W, 3] -> logits [N, classes]; INT8 between any two operations."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.normalise = Normalise()
        self.input_quant = _quantizer()
        self.embed = _linear(a.patch_features, a.embed)
        self.blocks = nn.ModuleList(QuantBlock(a) for _ in range(a.blocks))
        self.mean_quant = _quantizer()
        self.head = QuantLinear(a.embed, a.classes, bias=True, weight_quant=ClassifierWeightQuant, bias_quant=BiasQuant)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.input_quant(patches(self.normalise(pixels), self.architecture.patch))
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return plain(self.head(self.mean_quant(plain(x).mean(1))))


def quantize(model: AbsorbedResMLP) -> QuantResMLP:
    """A QuantResMLP with the weights of the absorbed float model; its activation quantizers have seen no data yet."""
    out = QuantResMLP(model.architecture)
    missing, unexpected = out.load_state_dict(model.state_dict(), strict=False)
    if unexpected:
        raise ValueError(f"float weights without a place in the quantized model: {', '.join(unexpected[:3])}")
    left = {name for name, _ in out.named_parameters()} & set(missing) - {n for n in missing if "tensor_quant" in n}
    if left:
        raise ValueError(f"the float model lacks {', '.join(sorted(left)[:3])}")
    return out


@torch.no_grad()
def calibrate(model: QuantResMLP, images: np.ndarray, seed: int, batch: int = 128) -> None:
    """Show every activation quantizer enough augmented training batches to fix its scale. images uint8 [n, H, W, 3]."""
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(ActivationQuant.collect_stats_steps + 2):
        picked = torch.randint(0, len(images), (min(batch, len(images)),), generator=generator)
        model(augment(torch.from_numpy(images[picked.numpy()]), generator))
    model.eval()


def quantization_summary(model: QuantResMLP) -> dict[str, float]:
    """Scale of each activation quantizer by module name (a power of two each)."""
    scales = {}
    for name, module in model.named_modules():
        for proxy in (getattr(module, "act_quant", None), getattr(module, "output_quant", None)):
            if proxy is not None and getattr(proxy, "is_quant_enabled", False):
                scales[name] = float(proxy.scale().detach())
    return scales
