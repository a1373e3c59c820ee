"""PSA, LERP-PSA and B-spline against direct transcriptions in float64."""

import math

import numpy as np
import pytest
import torch

from custom_ops.grid_lerp import grid_lerp
from custom_ops.lerp_psa import lerp_psa_table
from custom_ops.psa import psa
from train.functions import PSA, BSpline, LerpPSA, Recomputed, activation

CHANNELS, EXPANSION = 5, 8


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Parameters away from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return module


def article(module: PSA, channel: int, x: float) -> float:
    """The article's formula, written out in Python floats, without the residual."""
    features = range(module.q_b.shape[1])
    q_w, q_b, v = ([float(p[channel, e]) for e in features] for p in (module.q_w, module.q_b, module.v))
    weights = [math.exp(-((x - q_b[e]) ** 2) / (q_w[e] ** 2 + module.epsilon)) for e in features]
    total = sum(weights)
    mixed = sum(w / total * v[e] for e, w in enumerate(weights))
    return float(module.o_w[channel]) * mixed * x + float(module.o_b[channel])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("epsilon", [1.0, 0.1])
def test_psa_is_the_articles_formula(epsilon: float, residual: bool) -> None:
    module = randomised(PSA(CHANNELS, EXPANSION, epsilon=epsilon, residual=residual)).double()
    x = torch.linspace(-6, 6, 37, dtype=torch.float64)[:, None].expand(-1, CHANNELS)
    expected = [[article(module, c, float(v)) + (float(v) if residual else 0) for c in range(CHANNELS)] for v in x[:, 0]]
    np.testing.assert_allclose(module(x).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_psa_in_float32_is_close_to_float64() -> None:
    module = randomised(PSA(CHANNELS, EXPANSION))
    x = torch.linspace(-6, 6, 101)[:, None].expand(-1, CHANNELS)
    torch.testing.assert_close(module(x), module.double()(x.double()).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
def test_psa_equals_the_exported_ops_reference(residual: bool) -> None:
    module = randomised(PSA(CHANNELS, EXPANSION, residual=residual)).double()
    parameters = [p.detach().numpy() for p in (module.q_w, module.q_b, module.v, module.o_w, module.o_b)]
    x = np.linspace(-6, 6, 101)[:, None].repeat(CHANNELS, 1)
    expected = psa(x, *parameters, epsilon=1.0, residual=int(residual))
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_psa_starts_as_the_article_says() -> None:
    module = PSA(64, 8)
    assert (module.q_w == 1).all() and (module.o_w == 1).all() and (module.o_b == 0).all()
    assert module.q_b.min() >= -1 and module.q_b.max() <= 1 and module.q_b.std() > 0.5
    assert module.v.abs().max() <= math.sqrt(6 / (64 + 8))
    assert (module.epsilon, module.residual) == (1.0, True)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("grid", "bound"), [(64, 4.0), (17, 2.0), (2, 1.0)])
def test_lerp_psa_equals_psa_on_its_grid(grid: int, bound: float, residual: bool) -> None:
    exact = randomised(PSA(CHANNELS, EXPANSION, residual=residual))
    interpolated = LerpPSA(CHANNELS, EXPANSION, residual=residual, grid=grid, bound=bound)
    interpolated.load_state_dict(exact.state_dict())
    points = torch.linspace(-bound, bound, grid, dtype=torch.float64)[:, None].expand(-1, CHANNELS)
    expected = exact.double()(points).float()
    torch.testing.assert_close(interpolated(points.float()), expected, rtol=0, atol=2e-5)


def test_lerp_psa_is_straight_between_grid_points_and_beyond_the_ends() -> None:
    module = randomised(LerpPSA(CHANNELS, EXPANSION, residual=False, grid=9, bound=4.0))
    table = module.table().double()
    x = torch.linspace(-9, 9, 1001, dtype=torch.float64)
    expected = np.stack([
        np.where(x < -4, row[0] + (x + 4) * (row[1] - row[0]),
                 np.where(x > 4, row[8] + (x - 4) * (row[8] - row[7]), np.interp(x, np.linspace(-4, 4, 9), row)))
        for row in table.detach().numpy()
    ], 1)  # fmt: skip
    actual = module(x.float()[:, None].expand(-1, CHANNELS))
    torch.testing.assert_close(actual.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("grid", "bound"), [(64, 4.0), (33, 2.0)])
def test_the_training_table_is_the_exported_ops_table(grid: int, bound: float) -> None:
    module = randomised(LerpPSA(CHANNELS, EXPANSION, grid=grid, bound=bound))
    parameters = [p.detach().numpy() for p in (module.q_w, module.q_b, module.v, module.o_w, module.o_b)]
    expected = lerp_psa_table(*parameters, epsilon=1.0, grid=grid, bound=bound)
    actual = module.table().detach().numpy()
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=2e-7, atol=0)  # float64 softmaxes may round apart in the last bit
    assert (actual == expected).mean() > 0.999


def test_gradients_reach_every_parameter_through_the_grid() -> None:
    module = randomised(LerpPSA(CHANNELS, EXPANSION))
    x = torch.randn(200, CHANNELS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    module(x).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad != 0).all(), name
    assert (x.grad != 0).all()


def test_bspline_starts_as_a_leaky_relu() -> None:
    module = BSpline(CHANNELS)
    x = torch.linspace(-6, 6, 1001)[:, None].expand(-1, CHANNELS)
    assert module.knots.shape == (CHANNELS, 65)
    torch.testing.assert_close(module(x), torch.nn.functional.leaky_relu(x, 0.01), rtol=1e-5, atol=1e-6)


def test_bspline_is_the_interpolation_of_its_knots() -> None:
    module = randomised(BSpline(CHANNELS, knots=17, bound=2.0))
    x = np.random.default_rng(0).uniform(-4, 4, (500, CHANNELS)).astype(np.float32)
    assert (module(torch.from_numpy(x)).detach().numpy() == grid_lerp(x, module.knots.detach().numpy(), 2.0)).all()


def test_total_variation_is_the_change_of_slope() -> None:
    module = BSpline(2, knots=5, bound=4.0)  # spacing 2
    with torch.no_grad():
        module.knots.copy_(torch.tensor([[0.0, 2, 4, 6, 8], [0, 2, 0, 2, 0]]))
    assert module.total_variation().item() == 3 * 4 / 2  # slopes 1 -1 1 -1: three changes of 2, none in the straight line
    module.total_variation().backward()
    assert torch.isfinite(module.knots.grad).all()


@pytest.mark.parametrize(("name", "kind"), [("relu", torch.nn.ReLU), ("bspline", BSpline), ("psa", PSA), ("lerp_psa", LerpPSA)])
def test_activations_are_named(name: str, kind: type) -> None:
    module = activation(name, 3, grid=32, expansion=4)
    assert type(module) is kind
    if kind is BSpline:
        assert module.knots.shape == (3, 33)
    if kind in (PSA, LerpPSA):
        assert module.v.shape == (3, 4)
    if kind is LerpPSA:
        assert module.table().shape == (3, 32)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="activation 'swish' is unknown; choose relu, bspline, psa or lerp_psa"):
        activation("swish", 3)


def kept_bytes(module: torch.nn.Module, x: torch.Tensor) -> int:
    """Of the tensors that the backward of module(x) keeps, parameters and x itself apart."""
    known = {t.untyped_storage().data_ptr() for t in (x, *module.parameters())}
    found: dict[int, int] = {}

    def keep(t: torch.Tensor) -> torch.Tensor:
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y = module(x)
    assert y.requires_grad
    return sum(size for at, size in found.items() if at not in known)


def all_gradients(module: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    leaf = x.clone().requires_grad_()
    module.zero_grad()
    y = module(leaf)
    y.square().sum().backward()
    return [y.detach(), leaf.grad, *(p.grad.clone() for p in module.parameters())]


@pytest.mark.parametrize("kind", [PSA, LerpPSA])
def test_save_memory_gives_the_same_bits_and_keeps_only_x(kind: type) -> None:
    x = torch.randn(300, CHANNELS, generator=torch.Generator().manual_seed(0))
    plain, saving = randomised(kind(CHANNELS, EXPANSION)), randomised(kind(CHANNELS, EXPANSION, save_memory=True))
    saving.load_state_dict(plain.state_dict())
    for ours, expected in zip(all_gradients(saving, x), all_gradients(plain, x), strict=True):
        assert (ours == expected).all()
    assert kept_bytes(saving, x.requires_grad_()) == 0
    assert kept_bytes(plain, x) > 0
    with torch.no_grad():
        assert (saving(x) == plain(x)).all()


@pytest.mark.parametrize("name", ["relu", "bspline", "psa", "lerp_psa"])
def test_a_recomputed_row_gives_the_same_bits_and_keeps_only_its_input(name: str) -> None:
    x = torch.randn(300, CHANNELS, generator=torch.Generator().manual_seed(0))
    layers = [randomised(activation(name, CHANNELS)), torch.nn.Linear(CHANNELS, 7)]
    plain, saving = torch.nn.Sequential(*layers), Recomputed(*layers)
    assert list(saving.state_dict()) == list(plain.state_dict())
    for ours, expected in zip(all_gradients(saving, x), all_gradients(plain, x), strict=True):
        assert (ours == expected).all()
    assert kept_bytes(saving, x.requires_grad_()) == 0
    assert kept_bytes(plain, x) >= x.numel() * 4  # at least what the Linear multiplies


def test_a_recomputed_row_multiplies_only_once_going_forward() -> None:
    """The backward's second run stops at the Linear's input."""
    calls = []

    class Counted(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            calls.append(1)  # not reached in the run that stops
            return y

    row = Recomputed(torch.nn.ReLU(), Counted(CHANNELS, 7))
    row(torch.randn(10, CHANNELS).requires_grad_()).sum().backward()
    assert len(calls) == 1
