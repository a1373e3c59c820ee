"""The optimizers of a stage under one learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from train.recipe import StageConfig


class Optimizers:
    """AdamW, SGD, or Muon for the matrices of the blocks with AdamW for everything else.

    Muon (K. Jordan, 2024; here PyTorch's) takes steps of AdamW's size, so one learning rate serves both. Weight decay
    reaches matrices and convolutions only, never norms, biases or learned functions.
    """

    def __init__(self, model: nn.Module, config: StageConfig) -> None:
        weights = {f"{name}.weight": m.weight for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        by_muon = [p for name, p in weights.items() if config.optimizer == "muon" and "blocks." in name and p.ndim == 2 and name in trained]
        taken = {id(p) for p in by_muon}
        decayed = {id(p) for p in weights.values()}
        rest = [p for p in trained.values() if id(p) not in taken]
        groups = [
            {"params": [p for p in rest if id(p) in decayed], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if id(p) not in decayed], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self.parts: list[torch.optim.Optimizer] = []
        if by_muon:
            self.parts.append(torch.optim.Muon(by_muon, lr=config.learning_rate, weight_decay=config.weight_decay,
                                               adjust_lr_fn="match_rms_adamw"))  # fmt: skip
        if config.optimizer == "sgd":
            self.parts.append(torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True, foreach=True))
        else:
            self.parts.append(torch.optim.AdamW(groups, lr=config.learning_rate, foreach=True))

    def step(self, rate: float) -> None:
        """One step at this learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
