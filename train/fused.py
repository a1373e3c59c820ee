"""A block of the ResMLP in training as one operation on CPUs: `train/kernels/block.cc` behind autograd.

Plain PyTorch writes every intermediate tensor of a step to memory and reads it again, which is what its time goes to; the
kernel takes an image through the whole block in the cache and keeps only the input and the sum after the token mixer.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from train import parallel
from train.functions import BSpline, LerpPSA
from train.native import library

if TYPE_CHECKING:
    from train.resmlp import Block

LANES = 16  # channels and tokens come in multiples of it
Parameters = list[Tensor]  # in the order of block.cc: norm1, token linear, scale1, norm2, table1, fc1, table2, fc2 with scale2


class Shape(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int64) for name in ("images", "tokens", "channels", "hidden", "grid1", "grid2")),
                ("bound", ctypes.c_double), ("eps", ctypes.c_double)]  # fmt: skip


def _shape(x: Tensor, p: Parameters, bound: float, eps: float) -> Shape:
    grids = [t.shape[1] if t.dim() == 2 else 0 for t in (p[8], p[11])]
    return Shape(*x.shape, len(p[10]), *grids, bound, eps)


def _pointers(tensors: list[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def _pointer(t: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


@torch.library.custom_op("psaflow_train::block", mutates_args=())
def _block(x: Tensor, p: list[Tensor], bound: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    kernel = library("block", "-ffp-contract=fast")
    assert kernel is not None  # `available` said so
    x, p = x.contiguous(), [t.contiguous() for t in p]
    y, x1, stats = torch.empty_like(x), torch.empty_like(x), x.new_empty(4, x.shape[2])
    shape = _shape(x, p, bound, eps)
    kernel.block_forward(_pointer(x), _pointer(x1), _pointer(y), _pointer(stats), _pointers(p), ctypes.byref(shape))
    return y, x1, stats


@_block.register_fake
def _(x: Tensor, p: list[Tensor], bound: float, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    like = torch.empty_like(x, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like), x.new_empty(4, x.shape[2])


@torch.library.custom_op("psaflow_train::block_backward", mutates_args=())
def _block_backward(x: Tensor, x1: Tensor, stats: Tensor, grad: Tensor, p: list[Tensor], bound: float, eps: float) -> tuple[Tensor, Tensor]:
    kernel = library("block", "-ffp-contract=fast")
    assert kernel is not None
    x, x1, grad, p = x.contiguous(), x1.contiguous(), grad.contiguous(), [t.contiguous() for t in p]
    grad_x, flat = torch.empty_like(x), x.new_empty(sum(t.numel() for t in p))
    shape = _shape(x, p, bound, eps)
    kernel.block_backward(_pointer(x), _pointer(x1), _pointer(stats), _pointer(grad), _pointer(grad_x), _pointer(flat),
                          _pointers(p), ctypes.byref(shape))  # fmt: skip
    return grad_x, flat


@_block_backward.register_fake
def _(x: Tensor, x1: Tensor, stats: Tensor, grad: Tensor, p: list[Tensor], bound: float, eps: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(sum(t.numel() for t in p))


def _setup(ctx, inputs, output) -> None:
    x, p, ctx.bound, ctx.eps = inputs
    _, x1, stats = output
    ctx.mark_non_differentiable(x1, stats)
    ctx.save_for_backward(x, x1, stats, *p)


def _backward(ctx, grad, _x1, _stats):
    x, x1, stats, *p = ctx.saved_tensors
    grad_x, flat = _block_backward(x, x1, stats, grad, p, ctx.bound, ctx.eps)
    parts = flat.split([t.numel() for t in p])
    return grad_x, [part.view(t.shape) for part, t in zip(parts, p, strict=True)], None, None


_block.register_autograd(_backward, setup_context=_setup)


@torch.compiler.assume_constant_result
def _has_kernel() -> bool:
    return library("block", "-ffp-contract=fast") is not None


def available(block: Block, x: Tensor) -> bool:
    """Whether the kernel can train this block on this input."""
    interpolated = all(isinstance(f, LerpPSA | BSpline) for f in (block.act1, block.act2))
    plain = isinstance(block.act1, nn.Identity) and isinstance(block.act2, nn.ReLU)
    fits = x.dtype == torch.float32 and x.shape[1] % LANES == 0 and x.shape[2] % LANES == 0
    free = not torch.is_autocast_enabled("cpu") and parallel.world() == 1
    return block.training and x.device.type == "cpu" and fits and free and (interpolated or plain) and _has_kernel()


def train_block(block: Block, x: Tensor) -> Tensor:
    """`block(x)` in training mode, x float32 [N, T, C] -> [N, T, C]; updates the running statistics of its BatchNorms."""
    norm1, norm2, scale1, scale2 = block.token_norm, block.channel_norm, block.token_scale, block.channel_scale
    table1, table2 = ((f.full_table() if isinstance(f, LerpPSA | BSpline) else x.new_empty(0)) for f in (block.act1, block.act2))
    bound = block.act2.bound if isinstance(block.act2, LerpPSA | BSpline) else 1.0
    parameters = [
        norm1.weight, norm1.bias, block.token_linear.weight, block.token_linear.bias, scale1.weight, scale1.bias,
        norm2.weight, norm2.bias, table1, block.fc1.weight, block.fc1.bias, table2,
        block.fc2.weight * scale2.weight[:, None], block.fc2.bias * scale2.weight + scale2.bias,
    ]  # fmt: skip
    y, _, stats = _block(x, parameters, bound, norm1.eps)
    rows = x.shape[0] * x.shape[1]
    norm1.track(stats[0], stats[1], rows)
    norm2.track(stats[2], stats[3], rows)
    return y
