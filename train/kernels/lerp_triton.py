"""The interpolation on a GPU, in Triton: the same arithmetic as lerp.cc, on float32, bfloat16 or float16 x [..., C].

Forward: one program per tile of rows and channels. Backward: pairs (sum g, sum g*f) per segment, and knots of segments
at the end, as on a CPU. The pairs are summed with atomics in a few copies of the table, or, where the same bits are asked
for in every run, in a table per fixed chunk of rows in which each lane owns a channel and takes its rows in order.
"""

from __future__ import annotations

import contextlib

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 64  # a tile
COPIES = 8  # of the sums, over which the atomics spread
CHUNK, LANES = 256, 64  # rows and channels of one program of the deterministic backward


@triton.jit
def _segment(x, bound, scale, grid):
    """x float32 -> (k int32, f): k = clip(floor(t), 0, grid - 2), f = t - k, t = (x + bound) * scale; NaN has k = 0."""
    t = (x + bound) * scale
    bounded = tl.where(t > 0, tl.where(t < grid - 2, t, (grid - 2) * 1.0), 0.0)
    k = bounded.to(tl.int32)
    return k, t - k.to(tl.float32)


@triton.jit
def _forward(x_at, table_at, y_at, rows, channels, grid, bound, scale, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (r < rows) & (c < channels)
    at = r * channels + c
    k, f = _segment(tl.load(x_at + at, inside, 0.0).to(tl.float32), bound, scale, grid)
    knot = table_at + c * grid + k
    left = tl.load(knot, inside, 0.0)
    right = tl.load(knot + 1, inside, 0.0)
    tl.store(y_at + at, (left + f * (right - left)).to(y_at.dtype.element_ty), inside)


@triton.jit
def _backward_atomic(x_at, table_at, grad_at, grad_x_at, sums_at, rows, channels, grid, bound, scale, copies,
                     ROWS: tl.constexpr, CHANNELS: tl.constexpr):  # fmt: skip
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (r < rows) & (c < channels)
    at = r * channels + c
    k, f = _segment(tl.load(x_at + at, inside, 0.0).to(tl.float32), bound, scale, grid)
    g = tl.load(grad_at + at, inside, 0.0).to(tl.float32)
    knot = table_at + c * grid + k
    rise = tl.load(knot + 1, inside, 0.0) - tl.load(knot, inside, 0.0)
    tl.store(grad_x_at + at, (g * rise * scale).to(grad_x_at.dtype.element_ty), inside)
    pair = sums_at + (((tl.program_id(0) % copies) * channels + c).to(tl.int64) * (grid - 1) + k) * 2
    tl.atomic_add(pair, g, inside, sem="relaxed")
    tl.atomic_add(pair + 1, g * f, inside, sem="relaxed")


@triton.jit
def _backward_in_order(x_at, table_at, grad_at, grad_x_at, sums_at, rows, channels, grid, bound, scale,
                       CHUNK: tl.constexpr, LANES: tl.constexpr):  # fmt: skip
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    own = sums_at + (tl.program_id(0) * channels + c).to(tl.int64) * (grid - 1) * 2
    for i in range(CHUNK):
        r = tl.program_id(0).to(tl.int64) * CHUNK + i
        inside = (r < rows) & (c < channels)
        at = r * channels + c
        k, f = _segment(tl.load(x_at + at, inside, 0.0).to(tl.float32), bound, scale, grid)
        g = tl.load(grad_at + at, inside, 0.0).to(tl.float32)
        knot = table_at + c * grid + k
        rise = tl.load(knot + 1, inside, 0.0) - tl.load(knot, inside, 0.0)
        tl.store(grad_x_at + at, (g * rise * scale).to(grad_x_at.dtype.element_ty), inside)
        pair = own + k * 2  # in no other lane and no other program
        tl.store(pair, tl.load(pair, inside, 0.0) + g, inside)
        tl.store(pair + 1, tl.load(pair + 1, inside, 0.0) + g * f, inside)


def _on(x: Tensor) -> contextlib.AbstractContextManager[object]:
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def lerp_forward(table: Tensor, x: Tensor, bound: float) -> Tensor:
    """table float32 [C, G], x [..., C], both contiguous -> y [..., C] in the type of x."""
    channels, grid = table.shape
    y = torch.empty_like(x)
    rows = x.numel() // channels
    if rows:
        programs = (triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS))
        with _on(x):  # without fused multiply-adds, so that the bits are those of lerp_reference
            _forward[programs](x, table, y, rows, channels, grid, float(bound), (grid - 1) / (2 * bound),
                               ROWS=ROWS, CHANNELS=CHANNELS, enable_fp_fusion=False)  # fmt: skip
    return y


def lerp_backward(table: Tensor, x: Tensor, grad: Tensor, bound: float, deterministic: bool) -> tuple[Tensor, Tensor]:
    """Gradients of table (float32 [C, G]) and x ([..., C], its type); all inputs contiguous, grad like x."""
    channels, grid = table.shape
    grad_x = torch.empty_like(x)
    rows = x.numel() // channels
    parts = triton.cdiv(rows, CHUNK) if deterministic else COPIES
    sums = torch.zeros(parts, channels, grid - 1, 2, device=x.device)
    numbers = (rows, channels, grid, float(bound), (grid - 1) / (2 * bound))
    if rows and deterministic:
        with _on(x):
            _backward_in_order[(parts, triton.cdiv(channels, LANES))](
                x, table, grad, grad_x, sums, *numbers, CHUNK=CHUNK, LANES=LANES, num_warps=2, num_stages=1, enable_fp_fusion=False
            )
    elif rows:
        with _on(x):
            _backward_atomic[(triton.cdiv(rows, ROWS), triton.cdiv(channels, CHANNELS))](
                x, table, grad, grad_x, sums, *numbers, COPIES, ROWS=ROWS, CHANNELS=CHANNELS, enable_fp_fusion=False
            )
    total, shares = sums.sum(0).unbind(-1)
    grad_table = torch.zeros_like(table)
    grad_table[:, :-1] += total - shares
    grad_table[:, 1:] += shares
    return grad_table, grad_x
