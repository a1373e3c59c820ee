"""y = lerp(table, x): the interpolated function shared by LERP-PSA and B-spline, with its gradients.

On a CPU a C++ kernel does both directions (built with the system's compiler on first use), on a GPU a Triton kernel;
elsewhere, and where the compiler or Triton is missing, plain PyTorch does the same arithmetic in the same order.
The backward keeps only (table, x) and finds the segments again.
"""

from __future__ import annotations

import ctypes
import importlib.util

import torch
from torch import Tensor

from train.native import library

BLOCKS = 8  # of rows, with a sum each: fixed, so that the sum's order does not depend on the number of threads
KERNEL_TYPES = {"cpu": (torch.float32, torch.bfloat16), "cuda": (torch.float32, torch.bfloat16, torch.float16)}  # of x


def kernel(*flags: str) -> ctypes.CDLL | None:
    """The compiled kernel, or None where there is no C++ compiler. With -DLERP_PORTABLE: without AVX-512."""
    return library("lerp", "-ffp-contract=off", *flags)


@torch.compiler.assume_constant_result
def _has_kernel(device: str) -> bool:
    if device == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device == "cpu" and kernel() is not None


def _pointer(t: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


def _segment(x: Tensor, grid: int, bound: float) -> tuple[Tensor, Tensor]:
    t = (x + bound) * ((grid - 1) / (2 * bound))
    k = t.floor().clamp(0, grid - 2)
    return k, t - k


def lerp_reference(table: Tensor, x: Tensor, bound: float = 4.0) -> Tensor:
    """Plain PyTorch: table [C, G], x [..., C] -> [..., C], differentiable; outside the grid the end segments extrapolate.

    Half-precision x: arithmetic in the table's precision, the result in that of x.
    """
    channels, grid = table.shape
    k, f = _segment(x.to(table.dtype) if x.dtype in (torch.bfloat16, torch.float16) else x, grid, bound)
    at = k.long() + torch.arange(channels, device=x.device) * grid
    flat = table.reshape(-1)
    left = flat[at]
    y = left + f * (flat[at + 1] - left)
    return y.to(x.dtype) if x.dtype in (torch.bfloat16, torch.float16) else y


def _sizes(table: Tensor, x: Tensor, bound: float) -> tuple[object, ...]:
    """What both directions of the C++ kernel are told: rows, channels, grid, bound, scale, whether x is bfloat16."""
    channels, grid = table.shape
    scale = ctypes.c_float((grid - 1) / (2 * bound))
    return ctypes.c_int64(x.numel() // channels), channels, grid, ctypes.c_float(bound), scale, int(x.dtype == torch.bfloat16)


@torch.library.custom_op("psaflow_train::lerp", mutates_args=(), device_types="cpu")
def _lerp(table: Tensor, x: Tensor, bound: float) -> Tensor:
    native = kernel()
    assert native is not None  # `lerp` picks this path only where the library exists
    x, table = x.contiguous(), table.contiguous()
    y = torch.empty_like(x)
    native.lerp_forward(_pointer(x), _pointer(table), _pointer(y), *_sizes(table, x, bound), torch.get_num_threads())
    return y


@_lerp.register_kernel("cuda")
def _(table: Tensor, x: Tensor, bound: float) -> Tensor:
    from train.kernels.lerp_triton import lerp_forward

    return lerp_forward(table.contiguous(), x.contiguous(), bound)


@_lerp.register_fake
def _(table: Tensor, x: Tensor, bound: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("psaflow_train::lerp_backward", mutates_args=(), device_types="cpu")
def _lerp_backward(table: Tensor, x: Tensor, grad: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    channels, grid = table.shape
    native = kernel()
    assert native is not None
    x, table, grad = x.contiguous(), table.contiguous(), grad.contiguous()
    grad_x, grad_table = torch.empty_like(x), torch.empty_like(table)
    sums = torch.empty(BLOCKS, channels, grid - 1, 2)
    native.lerp_backward(
        _pointer(x), _pointer(table), _pointer(grad), _pointer(grad_x), _pointer(grad_table), _pointer(sums),
        *_sizes(table, x, bound), BLOCKS, torch.get_num_threads(),
    )  # fmt: skip
    return grad_table, grad_x


@_lerp_backward.register_kernel("cuda")
def _(table: Tensor, x: Tensor, grad: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    from train.kernels.lerp_triton import lerp_backward

    deterministic = torch.are_deterministic_algorithms_enabled()
    return lerp_backward(table.contiguous(), x.contiguous(), grad.contiguous(), bound, deterministic)


@_lerp_backward.register_fake
def _(table: Tensor, x: Tensor, grad: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    return table.new_empty(table.shape), torch.empty_like(x, memory_format=torch.contiguous_format)


def _setup(ctx, inputs, output) -> None:
    table, x, ctx.bound = inputs
    ctx.save_for_backward(table, x)


def _backward(ctx, grad):
    table, x = ctx.saved_tensors
    grad_table, grad_x = _lerp_backward(table, x, grad, ctx.bound)
    return grad_table, grad_x, None


_lerp.register_autograd(_backward, setup_context=_setup)


def lerp(table: Tensor, x: Tensor, bound: float = 4.0) -> Tensor:
    """table [C, G] on G equally spaced points of [-bound, bound], x [..., C] -> [..., C] (Singh & Bazargan 2024, LERP-PSA).

    Outside the grid the first and last segments extrapolate. Gradients reach the table through the two knots of a
    segment and x through its slope. x may be bfloat16 (float16 too on a GPU): y and its gradient are then too, the
    arithmetic and the table stay in float32.
    """
    if x.shape[-1] != table.shape[0]:
        raise ValueError(f"lerp: table {list(table.shape)} and x {list(x.shape)} must have the same channels, first and last axis")
    if table.dtype == torch.float32 and x.dtype in KERNEL_TYPES.get(x.device.type, ()) and _has_kernel(x.device.type):
        return _lerp(table, x, bound)
    return lerp_reference(table, x, bound)
