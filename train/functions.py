"""Learnable one-dimensional functions, one per channel, on channel-last tensors [..., C].

Singh & Bazargan, "Compressing Neural Networks Using Learnable 1-D Non-Linear Functions", ACM TRETS 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from train.lerp import lerp

OPSET_VERSION = 1  # of the domain `psaflow`


def recompute(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), of which only x is kept: the backward runs the forward again. `function` must not be random."""
    if not torch.is_grad_enabled():
        return function(x)
    return checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)


class Recomputed(nn.Sequential):
    """Modules in a row of which only the input is kept, for example an activation and the Linear after it.

    The backward runs them again up to the last tensor that it needs: the activation, not the Linear.
    """

    def forward(self, input: Tensor) -> Tensor:
        return recompute(super().forward, input)


class PSA(nn.Module):
    """f(x) = o_w * sum_e softmax_e(-(x - q_b)^2 / (q_w^2 + epsilon)) * v * x + o_b, plus x if `residual` (ResPSA).

    Parameters: q_w, q_b, v [C, E]; o_w, o_b [C]. Initial values as in the article: q_w 1, q_b uniform(-1, 1),
    v Xavier-uniform, o_w 1, o_b 0. With `save_memory` only x is kept for the backward, nothing of size [.., E].
    """

    op = "PSA"

    def __init__(self, channels: int, expansion: int = 8, epsilon: float = 1.0, residual: bool = True, *,
                 save_memory: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.epsilon, self.residual, self.save_memory = epsilon, residual, save_memory
        self.q_w = nn.Parameter(torch.ones(channels, expansion))
        self.q_b = nn.Parameter(torch.empty(channels, expansion).uniform_(-1, 1))
        self.v = nn.Parameter(nn.init.xavier_uniform_(torch.empty(channels, expansion)))
        self.o_w = nn.Parameter(torch.ones(channels))
        self.o_b = nn.Parameter(torch.zeros(channels))

    def exact(self, x: Tensor) -> Tensor:
        """f on x [..., C], without the residual, in the precision of x."""
        q_w, q_b, v, o_w, o_b = (p.to(x.dtype) for p in (self.q_w, self.q_b, self.v, self.o_w, self.o_b))
        distance = -((x.unsqueeze(-1) - q_b) ** 2) / (q_w**2 + self.epsilon)
        return o_w * (distance.softmax(-1) * v).sum(-1) * x + o_b

    def attributes(self) -> dict[str, float | int]:
        """Attributes of the exported op."""
        return {"epsilon": self.epsilon, "residual": int(self.residual)}

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            parameters = (x, self.q_w, self.q_b, self.v, self.o_w, self.o_b)
            return _symbolic(self.op, parameters, self.attributes())
        y = recompute(self.evaluate, x) if self.save_memory else self.evaluate(x)
        return y + x if self.residual else y

    def evaluate(self, x: Tensor) -> Tensor:
        """The function without its residual, as this class computes it."""
        return self.exact(x)


class LerpPSA(PSA):
    """PSA evaluated on a grid of equally spaced points on [-bound, bound] once a step, and interpolated linearly."""

    op = "LerpPSA"

    def __init__(self, channels: int, expansion: int = 8, epsilon: float = 1.0, residual: bool = True, *,
                 grid: int = 64, bound: float = 4.0, save_memory: bool = False) -> None:  # fmt: skip
        super().__init__(channels, expansion, epsilon, residual, save_memory=save_memory)
        self.grid, self.bound = grid, bound

    def table(self) -> Tensor:
        """The function's values on the grid, float32 [C, G]; evaluated in float64, as the exported op does."""
        points = torch.arange(self.grid, dtype=torch.float64, device=self.v.device)
        points = points * (2.0 * self.bound / (self.grid - 1)) - self.bound
        return self.exact(points[:, None].expand(-1, len(self.o_w))).T.float()

    def full_table(self) -> Tensor:
        """`table` with the residual, itself linear, added: [C, G], such that lerp(full_table, x) is the module's output."""
        points = torch.linspace(-self.bound, self.bound, self.grid, device=self.v.device)
        return self.table() + points if self.residual else self.table()

    def attributes(self) -> dict[str, float | int]:
        return super().attributes() | {"grid": self.grid, "bound": self.bound}

    def evaluate(self, x: Tensor) -> Tensor:
        return lerp(self.table(), x, self.bound)


class BSpline(nn.Module):
    """A linear spline per channel whose knots are the parameters (DeepSplines); starts as a leaky ReLU of slope 0.01."""

    op = "GridLerp"

    def __init__(self, channels: int, knots: int = 65, bound: float = 4.0) -> None:
        super().__init__()
        self.bound = bound
        points = torch.linspace(-bound, bound, knots)
        self.knots = nn.Parameter(nn.functional.leaky_relu(points, 0.01).repeat(channels, 1))

    def total_variation(self) -> Tensor:
        """TV2: the l1 norm of the second differences divided by the spacing, summed over channels (a scalar)."""
        spacing = 2 * self.bound / (self.knots.shape[1] - 1)
        return self.knots.diff(n=2, dim=1).abs().sum() / spacing

    def full_table(self) -> Tensor:
        """The knots [C, G]."""
        return self.knots

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _symbolic(self.op, (x, self.knots), {"bound": self.bound, "residual": 0})
        return lerp(self.knots, x, self.bound)


def _symbolic(op: str, inputs: tuple[Tensor, ...], attributes: Mapping[str, float | int]) -> Tensor:
    """One node of our domain in the exported graph."""
    x = inputs[0]
    return torch.onnx.ops.symbolic(f"psaflow::{op}", inputs, attrs=dict(attributes), dtype=x.dtype, shape=x.shape, version=OPSET_VERSION)


def activation(name: str, channels: int, *, grid: int = 64, expansion: int = 8, bound: float = 4.0) -> nn.Module:
    """The module that a recipe's `activation` names: relu, bspline, psa or lerp_psa."""
    if name == "relu":
        return nn.ReLU()
    if name == "bspline":
        return BSpline(channels, knots=grid + 1, bound=bound)
    if name == "psa":
        return PSA(channels, expansion)
    if name == "lerp_psa":
        return LerpPSA(channels, expansion, grid=grid, bound=bound)
    raise ValueError(f"activation {name!r} is unknown; choose relu, bspline, psa or lerp_psa")
