"""The interpolation: C++ kernel, plain PyTorch and float64, values and gradients."""

import ctypes
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from custom_ops.grid_lerp import grid_lerp
from train import lerp as module
from train.lerp import lerp, lerp_reference

has_kernel = pytest.mark.skipif(module.kernel() is None, reason="no C++ compiler for the kernel")
LARGE = [  # (rows, channels, grid): tiles and blocks of 16 that end early, tables too long for registers, more than one thread
    ((1000,), 33, 64), ((129,), 16, 65), ((127,), 15, 66), ((300,), 48, 2), ((2050,), 20, 31), ((65,), 17, 200), ((37,), 3, 4096),
]  # fmt: skip
SIZES = list(itertools.product([(7,), (3, 5), (2, 3, 4)], [1, 5, 16], [2, 3, 64, 65], [4.0, 1.5]))


def sample(rows: tuple[int, ...], channels: int, grid: int, bound: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(table, x), x inside the grid, beyond both ends, and exactly on its points."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(channels, grid, generator=generator)
    x = torch.randn(*rows, channels, generator=generator) * bound
    points = torch.linspace(-bound, bound, grid)
    on_grid = torch.rand(x.shape, generator=generator) < 0.3
    x = torch.where(on_grid, points[torch.randint(0, grid, x.shape, generator=generator)], x)
    return table, x


def gradients(function, table: torch.Tensor, x: torch.Tensor, bound: float) -> list[torch.Tensor]:
    """[y, d table, d x] for a fixed random gradient of y."""
    table, x = table.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
    y = function(table, x, bound)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype))
    return [y.detach(), table.grad, x.grad]


@has_kernel
@pytest.mark.parametrize(("rows", "channels", "grid", "bound"), SIZES)
def test_kernel_and_reference_give_the_same_bits(rows: tuple[int, ...], channels: int, grid: int, bound: float) -> None:
    table, x = sample(rows, channels, grid, bound)
    actual = module._lerp(table, x, bound)
    assert actual.shape == x.shape
    assert (actual == lerp_reference(table, x, bound)).all()
    assert (actual.numpy() == grid_lerp(x.numpy(), table.numpy(), bound)).all()


def through(library: ctypes.CDLL, table: torch.Tensor, x: torch.Tensor, grad: torch.Tensor, threads: int = 1) -> list[torch.Tensor]:
    """[y, d table, d x] straight from a compiled library, into memory that held NaN before."""
    channels, grid = table.shape
    y, grad_x, grad_table = (torch.full_like(t, float("nan")) for t in (x, x, table))
    sums = torch.full((module.BLOCKS, channels, grid - 1, 2), float("nan"))
    at, sizes = module._pointer, module._sizes(table, x, 4.0)
    library.lerp_forward(at(x), at(table), at(y), *sizes, threads)
    library.lerp_backward(at(x), at(table), at(grad), at(grad_x), at(grad_table), at(sums), *sizes, module.BLOCKS, threads)
    return [y, grad_table, grad_x]


@has_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "channels", "grid"), LARGE)
def test_the_kernel_of_this_cpu_and_the_portable_one_agree(rows: tuple[int, ...], channels: int, grid: int, dtype: torch.dtype) -> None:
    portable = module.kernel("-DLERP_PORTABLE")
    assert portable is not None
    table, x = sample(rows, channels, grid, 4.0)
    x, grad = x.to(dtype), torch.randn(*rows, channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours, plain = through(module.kernel(), table, x, grad), through(portable, table, x, grad)
    assert (ours[0] == lerp_reference(table, x)).all() and (plain[0] == ours[0]).all()
    assert (ours[2] == plain[2]).all()
    torch.testing.assert_close(ours[1], plain[1], rtol=1e-5, atol=1e-4)


@has_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "channels", "grid"), LARGE)
def test_any_number_of_threads_gives_the_same_bits(rows: tuple[int, ...], channels: int, grid: int, dtype: torch.dtype) -> None:
    table, x = sample(rows, channels, grid, 4.0)
    x, grad = x.to(dtype), torch.randn(*rows, channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    once = through(module.kernel(), table, x, grad)
    for threads in (2, 3, 8):
        assert all((a == b).all() for a, b in zip(once, through(module.kernel(), table, x, grad, threads), strict=True))


@has_kernel
@pytest.mark.parametrize(("rows", "channels", "grid"), LARGE)
def test_bfloat16_is_float32_rounded_once(rows: tuple[int, ...], channels: int, grid: int) -> None:
    table, x = sample(rows, channels, grid, 4.0)
    y, table_gradient, x_gradient = gradients(lerp, table, x.bfloat16(), 4.0)
    assert (y.dtype, table_gradient.dtype, x_gradient.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    assert (y == lerp_reference(table, x.bfloat16().float()).bfloat16()).all()
    reference = gradients(lerp_reference, table, x.bfloat16(), 4.0)
    assert (x_gradient == reference[2]).all()
    torch.testing.assert_close(table_gradient, reference[1], rtol=1e-4, atol=2e-3)


@has_kernel
def test_only_the_table_and_x_are_kept_for_the_backward() -> None:
    table, x = (t.requires_grad_() for t in sample((50,), 6, 16, 4.0))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        lerp(table, x)
    assert [t.data_ptr() for t in kept] == [table.data_ptr(), x.data_ptr()]


@pytest.mark.parametrize(("rows", "channels", "grid", "bound"), SIZES[::5])
def test_values_are_close_to_float64(rows: tuple[int, ...], channels: int, grid: int, bound: float) -> None:
    table, x = sample(rows, channels, grid, bound)
    torch.testing.assert_close(lerp(table, x, bound), lerp_reference(table.double(), x.double(), bound).float(), rtol=1e-5, atol=2e-5)


@has_kernel
@pytest.mark.parametrize(("rows", "channels", "grid", "bound"), SIZES[::5])
def test_the_kernels_gradients_are_close_to_float64(rows: tuple[int, ...], channels: int, grid: int, bound: float) -> None:
    table, x = sample(rows, channels, grid, bound)
    t = (x + bound) * ((grid - 1) / (2 * bound))
    x = torch.where((t - t.round()).abs() < 1e-3, x + 0.01 * bound / grid, x)  # off the points, where the slope jumps
    _, table32, x32 = gradients(module._lerp, table, x, bound)
    _, table64, x64 = gradients(lerp_reference, table.double(), x.double(), bound)
    torch.testing.assert_close(table32.double(), table64, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x32.double(), x64, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("grid", [2, 5, 9])
def test_the_references_gradients_are_those_of_finite_differences(grid: int) -> None:
    table, x = sample((4,), 3, grid, 2.0)
    t = (x + 2) * ((grid - 1) / 4)
    x = torch.where((t - t.round()).abs() < 0.05, x + 0.2 / grid, x).double().requires_grad_()
    table = table.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: lerp_reference(a, b, 2.0), (table, x))


@has_kernel
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_call_gives_the_same_bits(threads: int) -> None:
    table, x = sample((64, 9), 16, 64, 4.0)
    torch.set_num_threads(1)
    once = gradients(module._lerp, table, x, 4.0)
    try:
        torch.set_num_threads(threads)
        again = gradients(module._lerp, table, x, 4.0)
    finally:
        torch.set_num_threads(1)
    for a, b in zip(once, again, strict=True):
        assert (a == b).all()


@has_kernel
def test_a_tensor_that_is_not_contiguous_is_read_right() -> None:
    table, x = sample((6, 4), 8, 16, 4.0)
    turned = x.transpose(0, 1)
    assert (lerp(table, turned) == lerp_reference(table, turned)).all()
    striped = torch.randn(8, 32)[:, ::2]
    assert (lerp(striped, x) == lerp_reference(striped, x)).all()
    expanded = torch.ones(1).expand(5, 8)
    for ours, reference in zip(gradients(lerp, table, expanded, 4.0), gradients(lerp_reference, table, expanded, 4.0), strict=True):
        torch.testing.assert_close(ours, reference)


@has_kernel
def test_no_rows_give_no_rows() -> None:
    table, x = torch.randn(3, 8), torch.zeros(0, 3)
    y, table_gradient, x_gradient = gradients(lerp, table, x, 4.0)
    assert y.shape == x_gradient.shape == (0, 3)
    assert (table_gradient == 0).all()


@has_kernel
@pytest.mark.parametrize("value", [1e30, -1e30, 3.4e38, float("inf"), float("-inf"), float("nan")])
def test_extreme_values_stay_inside_the_table(value: float) -> None:
    table, _ = sample((1,), 3, 8, 4.0)
    x = torch.full((2, 3), value)
    ours = lerp(table, x)
    if np.isfinite(value):
        with np.errstate(over="ignore", invalid="ignore"):
            np.testing.assert_array_equal(ours.numpy(), grid_lerp(x.numpy(), table.numpy()))
    else:
        assert not torch.isfinite(ours).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 4, 6, 10])
def test_a_table_of_other_channels_is_refused(channels: int, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"\[5, 8\].*\[3, {channels}\]"):
        lerp(torch.randn(5, 8, dtype=dtype), torch.randn(3, channels, dtype=dtype))


def test_float64_goes_through_the_reference() -> None:
    table, x = (t.double() for t in sample((5,), 3, 8, 4.0))
    assert lerp(table, x).dtype == torch.float64
    assert (lerp(table, x) == lerp_reference(table, x)).all()


def test_without_a_compiler_plain_pytorch_gives_the_same() -> None:
    """In a process of its own, because the kernel is found once."""
    script = """
import torch
from train import lerp
torch.manual_seed(0)
table, x = torch.randn(4, 16), torch.randn(100, 4) * 5
assert lerp.kernel() is None
print((lerp.lerp(table, x) == lerp.lerp_reference(table, x)).all().item())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/nonexistent", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "True", done.stderr


@has_kernel
def test_it_compiles_with_torch_compile() -> None:
    table, x = sample((16, 3), 4, 16, 4.0)
    compiled = torch.compile(lambda t, v: lerp(t, v * 2.0) + 1.0, backend="aot_eager", fullgraph=True)
    assert (compiled(table, x) == lerp(table, x * 2.0) + 1.0).all()
