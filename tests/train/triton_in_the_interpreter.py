"""Run by test_lerp_triton.py in a process of its own with TRITON_INTERPRET=1: prints one JSON object of what it found."""

import json

import torch

from train.kernels import lerp_triton
from train.kernels.lerp_triton import lerp_backward, lerp_forward
from train.lerp import lerp_reference


def sample(rows: int, channels: int, grid: int, bound: float, dtype: torch.dtype) -> list[torch.Tensor]:
    """table, x, grad: x inside the grid, beyond both ends and on its first point, none near another point."""
    generator = torch.Generator().manual_seed(rows + channels + grid)
    t = torch.randint(-2, grid + 2, (rows, channels), generator=generator) + 0.1 + 0.8 * torch.rand(rows, channels, generator=generator)
    x = (t * (2 * bound / (grid - 1)) - bound).to(dtype)
    grad = torch.randn(rows, channels, generator=generator).to(dtype)
    return [torch.randn(channels, grid, generator=generator), x, grad]


def difference(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours.double() - reference).abs().max() / (1 + reference.abs().max())) if ours.numel() else 0.0


def compare(rows: int, channels: int, grid: int, bound: float, dtype: torch.dtype) -> dict[str, object]:
    """Relative differences from float64, and whether bits equal the reference's and the run before's."""
    table, x, grad = sample(rows, channels, grid, bound, dtype)
    wide_table, wide_x = table.double().requires_grad_(), x.double().requires_grad_()
    wide_y = lerp_reference(wide_table, wide_x, bound)
    wide_y.backward(grad.double())
    y = lerp_forward(table, x, bound)
    found: dict[str, object] = {
        "case": f"{rows}x{channels}, grid {grid}, {dtype}", "dtype": str(dtype), "y": difference(y, wide_y.detach()),
        "same_bits": bool((y == lerp_reference(table, x, bound)).all()), "types": y.dtype == x.dtype,
    }  # fmt: skip
    for name, deterministic in (("atomic", False), ("in_order", True)):
        grad_table, grad_x = lerp_backward(table, x, grad, bound, deterministic)
        found[f"table_{name}"] = difference(grad_table, wide_table.grad)
        found[f"x_{name}"] = difference(grad_x, wide_x.grad)
        found["types"] = bool(found["types"]) and grad_x.dtype == x.dtype and grad_table.dtype == torch.float32
        if deterministic:
            again = lerp_backward(table, x, grad, bound, deterministic)
            found["repeats"] = bool((again[0] == grad_table).all() and (again[1] == grad_x).all())
    return found


if __name__ == "__main__":
    lerp_triton.CHUNK = 16  # several chunks in few rows
    sizes = [(1, 1, 2, 1.0), (37, 70, 64, 4.0), (70, 5, 65, 1.5), (0, 3, 8, 4.0)]
    cases = [compare(*size, torch.float32) for size in sizes]
    cases += [compare(*sizes[1], dtype) for dtype in (torch.bfloat16, torch.float16)]
    wild = torch.tensor([[1e30, -1e30, float("inf"), float("-inf"), float("nan")]])
    table = torch.ones(5, 8).cumsum(1)
    y = lerp_forward(table, wild, 4.0)
    lerp_backward(table, wild, torch.ones_like(wild), 4.0, True)
    print(json.dumps({"cases": cases, "wild": [bool(v) for v in torch.isfinite(y)[0]]}))
