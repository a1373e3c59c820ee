"""Who is stepped by which optimizer, and whose weights decay."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.train import tiny
from train.cnn import ResidualCNN
from train.functions import PSA, BSpline
from train.optimizers import Optimizers
from train.quantized import quantize
from train.recipe import StageConfig
from train.resmlp import Architecture, ResMLP, absorb
from train.transfer import BlockTransfer

ALL = ("adamw", "muon", "sgd")
MATRICES = {f"blocks.{i}.{layer}.weight" for i in range(2) for layer in ("token_linear", "fc1", "fc2")}


def network(activation: str = "lerp_psa") -> ResMLP:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return ResMLP(Architecture(activation=activation, embed=8, hidden=12, blocks=2, grid=16, expansion=2))


def config(optimizer: str, decay: float = 0.1) -> StageConfig:
    return StageConfig.model_validate({"optimizer": optimizer, "weight_decay": decay})


def names(model: nn.Module, optimizers: Optimizers, kind: type, *, decayed: bool | None = None) -> list[str]:
    """Parameters that an optimizer of this kind steps, those with weight decay, without, or all."""
    known = {id(p): name for name, p in model.named_parameters()}
    return [known[id(p)] for part in optimizers.parts if type(part) is kind for group in part.param_groups for p in group["params"]
            if decayed is None or decayed == (group["weight_decay"] > 0)]  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "bspline", "psa", "lerp_psa"])
def test_muon_gets_exactly_the_linear_weights_in_blocks(activation: str) -> None:
    model = network(activation)
    optimizers = Optimizers(model, config("muon"))
    assert set(names(model, optimizers, torch.optim.Muon)) == MATRICES
    assert set(names(model, optimizers, torch.optim.AdamW)) == {n for n, _ in model.named_parameters()} - MATRICES


def test_muon_gets_the_same_matrices_of_a_quantized_network_and_of_a_block_in_transfer() -> None:
    quantized = quantize(absorb(network().eval()))
    assert set(names(quantized, Optimizers(quantized, config("muon")), torch.optim.Muon)) == MATRICES
    student = network()
    optimizers = Optimizers(BlockTransfer(student, network(), 1), config("muon"))
    assert set(names(student, optimizers, torch.optim.Muon)) == {n for n in MATRICES if n.startswith("blocks.1.")}
    assert set(names(student, optimizers, torch.optim.AdamW)) == {n for n, _ in student.blocks.named_parameters("blocks")
                                                                  if n.startswith("blocks.1.")} - MATRICES  # fmt: skip


@pytest.mark.parametrize(("optimizer", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_one_optimizer_takes_every_parameter_once(optimizer: str, kind: type) -> None:
    for model in (network(), ResidualCNN(4)):
        optimizers = Optimizers(model, config(optimizer))
        assert [type(part) for part in optimizers.parts] == [kind]
        assert sorted(names(model, optimizers, kind)) == sorted(n for n, _ in model.named_parameters())


@pytest.mark.parametrize("optimizer", ALL)
@pytest.mark.parametrize("activation", ["bspline", "psa", "lerp_psa"])
def test_only_matrices_and_convolutions_decay(activation: str, optimizer: str) -> None:
    for model in (network(activation), quantize(absorb(network(activation).eval())), ResidualCNN(4)):
        optimizers = Optimizers(model, config(optimizer))
        decayed = {
            n for kind in (torch.optim.AdamW, torch.optim.SGD, torch.optim.Muon) for n in names(model, optimizers, kind, decayed=True)
        }
        expected = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
        assert decayed == expected
        functions = {f"{n}.{p}" for n, m in model.named_modules() if isinstance(m, PSA | BSpline) for p, _ in m.named_parameters()}
        assert not decayed & functions and (functions or isinstance(model, ResidualCNN))


@pytest.mark.parametrize("optimizer", ALL)
def test_decay_without_gradients_shrinks_matrices_and_leaves_the_rest(optimizer: str) -> None:
    model = network()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizers = Optimizers(model, config(optimizer, decay=0.5))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizers.step(0.1)
    for name, p in model.named_parameters():
        rate = 0.1 * 1.9 if optimizer == "sgd" else 0.1  # Nesterov's momentum of 0.9 adds its share at once
        factor = 1 - rate * 0.5 if name in MATRICES | {"embed.weight", "head.weight"} else 1.0
        torch.testing.assert_close(p.detach(), before[name] * factor, msg=name)


def test_frozen_parameters_are_left_alone() -> None:
    model = network()
    model.blocks[0].requires_grad_(False)
    optimizers = Optimizers(model, config("muon"))
    assert set(names(model, optimizers, torch.optim.Muon)) == {n for n in MATRICES if n.startswith("blocks.1.")}
    assert not any(n.startswith("blocks.0.") for n in names(model, optimizers, torch.optim.AdamW))


def train(model: nn.Module, optimizers: Optimizers, steps: range) -> None:
    pixels = torch.from_numpy(tiny.images().x_train)
    model.train()
    for step in steps:
        optimizers.zero_grad()
        (model(pixels[step * 8 : step * 8 + 8]) ** 2).mean().backward()
        optimizers.step(1e-2 / (step + 1))


@pytest.mark.parametrize("optimizer", ALL)
def test_a_state_that_is_loaded_continues_to_the_same_bits(optimizer: str) -> None:
    model = network()
    optimizers = Optimizers(model, config(optimizer))
    train(model, optimizers, range(3))
    other = copy.deepcopy(model)
    loaded = Optimizers(other, config(optimizer))
    loaded.load_state_dict(copy.deepcopy(optimizers.state_dict()))
    for m, o in ((model, optimizers), (other, loaded)):
        train(m, o, range(3, 6))
    tiny.assert_same_weights(model, other)
    forgetful = network()
    fresh = Optimizers(forgetful, config(optimizer))
    train(forgetful, fresh, range(3))
    train(forgetful, Optimizers(forgetful, config(optimizer)), range(3, 6))
    assert not torch.equal(forgetful.head.weight, model.head.weight)


@pytest.mark.parametrize("optimizer", ALL)
def test_every_optimizer_steps_at_the_rate_it_is_told(optimizer: str) -> None:
    still, moved = network(), network()
    for model, rate in ((still, 0.0), (moved, 1e-2)):
        optimizers = Optimizers(model, config(optimizer))
        model(torch.from_numpy(tiny.images().x_train)).square().mean().backward()
        optimizers.step(rate)
    fresh = dict(network().named_parameters())
    assert all(torch.equal(p, fresh[n]) for n, p in still.named_parameters())
    assert not any(torch.equal(p, fresh[n]) for n, p in moved.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-3)
