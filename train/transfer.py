"""Block-wise knowledge transfer from a wider ResMLP (Singh & Bazargan 2024): embedding and head are copied, then each
block learns, one after the other, to give the teacher's output of the same block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.functions import PSA
from train.recipe import ConfigError
from train.resmlp import ResMLP, patches


@torch.no_grad()
def start_from(student: ResMLP, teacher: nn.Module, name: str) -> None:
    """Copy embedding, final norm and head; v of each PSA starts normal(0, 4), as it sits inside a residual."""
    if not isinstance(teacher, ResMLP) or _shape(teacher) != _shape(student):
        raise ConfigError(f"{name}: stages: a transfer needs a teacher that is a ResMLP with the student's embed and blocks")
    for part in ("embed", "norm", "head"):
        getattr(student, part).load_state_dict(getattr(teacher, part).state_dict())
    for module in student.modules():
        if isinstance(module, PSA):
            nn.init.normal_(module.v, 0.0, 4.0)


def _shape(model: ResMLP) -> tuple[int, int, int, int]:
    a = model.architecture
    return a.embed, a.blocks, a.image, a.patch


class BlockTransfer(nn.Module):
    """Mean squared error between student's and teacher's output after block `index`; only that block is trained."""

    def __init__(self, student: ResMLP, teacher: ResMLP, index: int) -> None:
        super().__init__()
        self.index = index
        self.blocks = nn.ModuleList([student.blocks[index]])  # named like the model's, so that Muon finds its matrices
        self.frozen = [student, teacher]  # in a list: neither their parameters nor their modes are ours

    def forward(self, pixels: Tensor) -> Tensor:
        student, teacher = self.frozen
        with torch.no_grad():
            x = features(student, pixels, self.index)
            target = features(teacher, pixels, self.index + 1)
        return nn.functional.mse_loss(self.blocks[0](x).float(), target.float())

    def train(self, mode: bool = True) -> BlockTransfer:
        """Only the trained block leaves evaluation mode."""
        for network in self.frozen:
            network.eval()
        super().train(mode)
        return self


def features(model: ResMLP, pixels: Tensor, blocks: int) -> Tensor:
    """Tokens [N, T, C] after the embedding and the first `blocks` blocks."""
    x = model.embed(patches(model.normalise(pixels), model.architecture.patch))
    for block in list(model.blocks)[:blocks]:
        x = block(x)
    return x
