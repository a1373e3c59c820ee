"""y = lerp(table, x): the interpolated function shared by LERP-PSA and B-spline, with its gradients.

On a CPU a small C kernel does both directions (built with the system's compiler on first use); elsewhere, and where
no compiler is found, plain PyTorch does the same arithmetic in the same order.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)
SOURCE = Path(__file__).parent / "kernels" / "lerp.c"
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fopenmp", "-fno-math-errno", "-shared", "-fPIC")


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        log.warning("lerp: no C compiler on the PATH, using plain PyTorch (install gcc to train faster)")
        return None
    machine = Path("/proc/cpuinfo")
    flags_of_cpu = next((s for s in machine.read_text().splitlines() if s.startswith("flags")), "") if machine.exists() else ""
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode() + flags_of_cpu.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "psaflow"
    target = cache / f"lerp_{key}.so"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, suffix=".so", delete=False) as temporary:
            pass
        built = subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", temporary.name], capture_output=True, text=True, check=False)
        if built.returncode:
            Path(temporary.name).unlink()
            log.warning("lerp: %s failed, using plain PyTorch: %s", compiler, built.stderr.strip().splitlines()[:1])
            return None
        Path(temporary.name).replace(target)
    return ctypes.CDLL(str(target))


@torch.compiler.assume_constant_result
def _has_kernel() -> bool:
    return _library() is not None


def _pointer(t: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


def _segment(x: Tensor, grid: int, bound: float) -> tuple[Tensor, Tensor]:
    t = (x + bound) * ((grid - 1) / (2 * bound))
    k = t.floor().clamp(0, grid - 2)
    return k, t - k


def lerp_reference(table: Tensor, x: Tensor, bound: float = 4.0) -> Tensor:
    """Plain PyTorch: table [C, G], x [..., C] -> [..., C], differentiable; outside the grid the end segments extrapolate."""
    channels, grid = table.shape
    k, f = _segment(x, grid, bound)
    at = k.long() + torch.arange(channels, device=x.device) * grid
    flat = table.reshape(-1)
    left = flat[at]
    return left + f * (flat[at + 1] - left)


@torch.library.custom_op("psaflow_train::lerp", mutates_args=())
def _lerp(table: Tensor, x: Tensor, bound: float) -> Tensor:
    channels, grid = table.shape
    library = _library()
    assert library is not None  # `lerp` picks this path only where the library exists
    x, table = x.contiguous(), table.contiguous()
    y = torch.empty_like(x)
    scale = ctypes.c_float((grid - 1) / (2 * bound))
    rows = ctypes.c_int64(x.numel() // channels)
    library.lerp_forward(_pointer(x), _pointer(table), _pointer(y), rows, channels, grid, ctypes.c_float(bound), scale)
    return y


@_lerp.register_fake
def _(table: Tensor, x: Tensor, bound: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("psaflow_train::lerp_backward", mutates_args=())
def _lerp_backward(table: Tensor, x: Tensor, grad: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    channels, grid = table.shape
    library = _library()
    assert library is not None
    x, table, grad = x.contiguous(), table.contiguous(), grad.contiguous()
    grad_x = torch.empty_like(x)
    blocks = 8  # fixed, so that the sum's order does not depend on the number of threads
    partial = torch.zeros(blocks, channels, grid)
    scale = ctypes.c_float((grid - 1) / (2 * bound))
    rows = ctypes.c_int64(x.numel() // channels)
    library.lerp_backward(
        _pointer(x), _pointer(table), _pointer(grad), _pointer(grad_x), _pointer(partial), rows, channels, grid,
        ctypes.c_float(bound), scale, blocks,
    )  # fmt: skip
    return partial.sum(0), grad_x


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
    segment and x through its slope.
    """
    if x.shape[-1] != table.shape[0]:
        raise ValueError(f"lerp: table {list(table.shape)} and x {list(x.shape)} must have the same channels, first and last axis")
    on_cpu = x.device.type == "cpu" and x.dtype == table.dtype == torch.float32
    if on_cpu and _has_kernel():
        return _lerp(table, x, bound)
    return lerp_reference(table, x, bound)
