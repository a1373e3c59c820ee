"""The fused block equals plain PyTorch in double precision, bit for bit with any number of threads, and knows its limits."""

from __future__ import annotations

import copy
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.train import tiny
from train import fused, native, parallel
from train.functions import BSpline, LerpPSA
from train.resmlp import Architecture, Block, ResMLP, TokenNorm

compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("c++")), reason="needs a C++ compiler")
FUNCTIONS = ("lerp_psa", "bspline", "relu")
SIZES = {  # activation, images, tokens' side, channels, hidden, grid
    "as trained": (5, 8, 96, 96, 64),
    "hidden no multiple of 16": (3, 8, 32, 20, 64),
    "hidden of one": (3, 8, 16, 1, 64),
    "one image": (1, 8, 16, 24, 64),
    "images no multiple of 16": (37, 4, 48, 40, 16),
    "as many images as parts": (16, 4, 16, 16, 16),
    "the smallest grid": (4, 4, 32, 33, 2),
    "every width of a tile": (2, 4, 16 * 13, 16 * 7 + 5, 9),
}


def block(activation: str, side: int, channels: int, hidden: int, grid: int, seed: int = 0) -> Block:
    """A block in training whose every parameter and statistic is off its initial value."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    made = Block(Architecture(activation=activation, embed=channels, hidden=hidden, image=4 * side, grid=grid, expansion=4))
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p) * 0.2)
        for norm in (made.token_norm, made.channel_norm):
            norm.running_mean.normal_()  # type: ignore[union-attr, operator]
            norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return made.train()


def data(images: int, side: int, channels: int) -> tuple[Tensor, Tensor]:
    """(input that leaves the grid at both ends, gradient of the output)."""
    generator = torch.Generator().manual_seed(3)
    shape = (images, side * side, channels)
    return torch.randn(shape, generator=generator) * 2 + 0.5, torch.randn(shape, generator=generator)


def double_lerp(table: Tensor, x: Tensor, bound: float) -> Tensor:
    """The interpolation in plain double precision."""
    grid = table.shape[1]
    t = (x + bound) * ((grid - 1) / (2 * bound))
    k = t.detach().floor().clamp(0, grid - 2)
    at, channels = k.long(), torch.arange(table.shape[0])
    low, high = table[channels, at], table[channels, at + 1]
    return low + (high - low) * (t - k)


class Plainly(nn.Module):
    """A learned function in double precision, without kernels."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        f = self.function
        if isinstance(f, BSpline):
            return double_lerp(f.knots, x, f.bound)
        assert isinstance(f, LerpPSA)
        points = torch.linspace(-f.bound, f.bound, f.grid, dtype=torch.float64)
        return double_lerp(f.exact(points[:, None].expand(-1, len(f.o_w))).T, x, f.bound) + x


def plain(given: Block) -> Block:
    """The same block in double precision, as PyTorch computes it."""
    out = copy.deepcopy(given).double()
    for name in ("act1", "act2"):
        if isinstance(getattr(out, name), BSpline | LerpPSA):
            setattr(out, name, Plainly(getattr(out, name)))
    return out


def differentiate(given: Block, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """(output, gradient of the input); the parameters' gradients are left in the block."""
    x = x.clone().requires_grad_()
    y = given(x)
    y.backward(grad)
    assert x.grad is not None
    return y.detach(), x.grad


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry each time a block goes the fused way."""
    made: list[str] = []
    train_block = fused.train_block

    def counted(given: Block, x: Tensor) -> Tensor:
        made.append("fused")
        return train_block(given, x)

    monkeypatch.setattr(fused, "train_block", counted)
    return made


def assert_near(actual: Tensor, expected: Tensor, what: str) -> None:
    """Within single precision of the largest entry."""
    assert actual.shape == expected.shape, what
    scale = float(expected.abs().max()) or 1.0
    assert float((actual.double() - expected).abs().max()) <= 2e-5 * scale, what


@compiler
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_it_equals_plain_pytorch_in_double_precision(activation: str, size: str, calls: list[str]) -> None:
    images, side, channels, hidden, grid = SIZES[size]
    quick = block(activation, side, channels, hidden, grid)
    exact = plain(quick)
    x, grad = data(images, side, channels)
    y, grad_x = differentiate(quick, x, grad)
    expected_y, expected_grad_x = differentiate(exact, x.double(), grad.double())
    assert calls == ["fused"]
    assert_near(y, expected_y, "y")
    assert_near(grad_x, expected_grad_x, "gradient of x")
    expected = {name.replace(".function.", "."): p for name, p in exact.named_parameters()}
    assert {n for n, _ in quick.named_parameters()} == expected.keys()
    for name, p in quick.named_parameters():
        assert p.grad is not None and expected[name].grad is not None, name
        assert_near(p.grad, expected[name].grad, name)  # type: ignore[arg-type]
    for (name, mine), other in zip(quick.named_buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), other.double(), rtol=1e-5, atol=1e-5, msg=name)
    assert quick.token_norm.num_batches_tracked == quick.channel_norm.num_batches_tracked == 1


@compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks the compiler for an x86 without AVX-512")
def test_it_equals_plain_pytorch_without_avx512(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    monkeypatch.setattr(fused, "library", lambda name, *flags: native.library(name, *flags, "-march=x86-64-v2"))
    test_it_equals_plain_pytorch_in_double_precision("lerp_psa", "hidden no multiple of 16", calls)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@compiler
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_the_number_of_threads_changes_no_bit(activation: str, calls: list[str], threads: None) -> None:
    results = []
    for count in (1, 2, 5):
        given = block(activation, 4, 32, 20, 16)
        torch.set_num_threads(count)
        y, grad_x = differentiate(given, *data(19, 4, 32))
        results.append([y, grad_x, *(p.grad for p in given.parameters()), *given.buffers()])
    assert len(calls) == 3
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@compiler
def test_strided_inputs_and_gradients_are_taken(calls: list[str]) -> None:
    x, grad = data(4, 4, 32)
    results = []
    for strided in (False, True):
        given = block("lerp_psa", 4, 32, 16, 16)
        a, b = (t.transpose(0, 1).contiguous().transpose(0, 1) if strided else t for t in (x, grad))
        results.append([*differentiate(given, a, b), *(p.grad for p in given.parameters())])
    assert len(calls) == 2
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@compiler
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_it_works_under_torch_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x, grad = data(4, 4, 32)
    given = block("lerp_psa", 4, 32, 16, 16)
    other = copy.deepcopy(given)
    torch._dynamo.reset()
    results = []
    for module, call in ((given, given), (other, torch.compile(other, backend=backend, fullgraph=True))):
        into = x.clone().requires_grad_()
        y = call(into)
        y.backward(grad)
        results.append([y.detach(), into.grad, *(p.grad for p in module.parameters()), *module.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


ELSEWHERE = {
    "in evaluation": ("lerp_psa", 32, lambda b: b.eval()),
    "channels no multiple of 16": ("lerp_psa", 24, lambda b: b),
    "exact PSA": ("psa", 32, lambda b: b),
    "in double precision": ("lerp_psa", 32, lambda b: b.double()),
}


@pytest.mark.parametrize(("activation", "channels", "change"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_it_is_not_used(activation: str, channels: int, change, calls: list[str]) -> None:
    given = change(block(activation, 4, channels, 16, 16))
    x, _ = data(3, 4, channels)
    x = x.to(next(given.parameters()).dtype)
    assert not fused.available(given, x)
    assert given(x).shape == x.shape
    assert not calls


def test_it_is_not_used_under_autocast_or_in_several_processes(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = block("lerp_psa", 4, 32, 16, 16)
    x, _ = data(3, 4, 32)
    with torch.autocast("cpu", torch.bfloat16):
        given(x)
        assert not fused.available(given, x)
    monkeypatch.setattr(parallel, "world", lambda: 2)
    assert not fused.available(given, x)
    assert not calls


def test_tokens_that_are_no_multiple_of_16_go_the_plain_way(calls: list[str]) -> None:
    given = block("lerp_psa", 3, 32, 16, 16)
    assert given(data(3, 3, 32)[0]).shape == (3, 9, 32)
    assert not calls


def test_without_a_compiler_training_is_the_plain_way(calls: list[str], monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda _: None)
    monkeypatch.setattr(fused, "library", native.library.__wrapped__)
    given = block("relu", 4, 32, 16, 16)
    exact = plain(given)
    x, grad = data(3, 4, 32)
    y, grad_x = differentiate(given, x, grad)
    expected_y, expected_grad_x = differentiate(exact, x.double(), grad.double())
    assert not calls
    assert_near(y, expected_y, "y")
    assert_near(grad_x, expected_grad_x, "gradient of x")
    assert "block: no C++ compiler on the PATH, using plain PyTorch (install g++ to train faster)" in caplog.text


@compiler
def test_a_networks_training_is_the_same_either_way(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.from_numpy(tiny.images().x_train)
    results = []
    for available in (fused.available, lambda block, x: False):
        monkeypatch.setattr(fused, "available", available)
        torch.manual_seed(0)
        model = ResMLP(Architecture(embed=16, hidden=12, blocks=2, grid=16, expansion=2)).train()
        loss = nn.functional.cross_entropy(model(pixels), torch.arange(48) % 10)
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters()), *model.buffers()])
    assert len(calls) == 2
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_statistics_are_tracked_as_a_batchnorm_tracks_them() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5, 4)
    mine, pytorch = TokenNorm(4).train(), nn.BatchNorm1d(4).train()
    rows = x.flatten(0, 1)
    for _ in range(3):
        mine.track(rows.mean(0), rows.var(0, correction=0), len(rows))
        pytorch(rows)
    for a, b in zip(mine.buffers(), pytorch.buffers(), strict=True):
        torch.testing.assert_close(a, b)
