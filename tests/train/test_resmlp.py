"""The float network: layout of patches, and the absorbed form that computes the same."""

import numpy as np
import pytest
import torch
from torch import nn

from custom_ops.hw.patches import patches as reference_patches
from tests.conftest import ACTIVATIONS, random_images
from train.resmlp import MEAN, STD, AbsorbedResMLP, Affine, Architecture, Normalise, ResMLP, TokenNorm, absorb, patches

SIZES = [(8, 8, 1, 32), (12, 20, 2, 32), (16, 4, 3, 16)]  # embed, hidden, blocks, image


def trained_looking(architecture: Architecture, seed: int = 0) -> ResMLP:
    """A network whose BatchNorms have seen images and whose every parameter is off its initial value."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = ResMLP(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        model.train()
        for step in range(4):
            model(torch.from_numpy(random_images(16, seed=step)[:, : architecture.image, : architecture.image]))
    return model.eval()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("embed", "hidden", "blocks", "image"), SIZES)
def test_absorbing_keeps_the_answer(activation: str, embed: int, hidden: int, blocks: int, image: int) -> None:
    architecture = Architecture(activation=activation, embed=embed, hidden=hidden, blocks=blocks, image=image)
    model = trained_looking(architecture).double()
    absorbed = absorb(model)
    images = torch.from_numpy(random_images(10, seed=9)[:, :image, :image])
    with torch.no_grad():
        expected, actual = as_double(model)(images), as_double(absorbed)(images)
    assert expected.shape == (10, 10) and expected.std() > 0.1
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)  # the absorbed parameters are rounded to float32 once
    assert (actual.argmax(1) == expected.argmax(1)).all()


def as_double(model: nn.Module) -> nn.Module:
    """The model in float64, its pixels too."""
    model.double()
    model.normalise.forward = lambda pixels: pixels.double() * model.normalise.gain + model.normalise.offset
    return model


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_absorbed_form_has_no_batchnorm_and_shares_nothing(activation: str) -> None:
    model = trained_looking(Architecture(activation=activation, embed=8, hidden=8, blocks=1))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    absorbed = absorb(model)
    assert isinstance(absorbed, AbsorbedResMLP) and not absorbed.training
    assert not any(isinstance(m, nn.BatchNorm1d) for m in absorbed.modules())
    with torch.no_grad():
        for parameter in absorbed.parameters():
            parameter.zero_()
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pixels_in_logits_out(activation: str) -> None:
    architecture = Architecture(activation=activation, embed=8, hidden=12, blocks=1)
    assert (architecture.tokens, architecture.patch_features) == (64, 48)
    model = ResMLP(architecture)
    logits = model(torch.from_numpy(random_images(5, seed=0)))
    assert logits.shape == (5, 10) and logits.dtype == torch.float32
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("activation", "functions"), [("relu", 0), ("bspline", 2), ("psa", 2), ("lerp_psa", 2)])
def test_learnable_networks_have_two_functions_a_block(activation: str, functions: int) -> None:
    from train.functions import PSA, BSpline

    model = ResMLP(Architecture(activation=activation, embed=8, hidden=12, blocks=3))
    found = [m for m in model.modules() if isinstance(m, PSA | BSpline)]
    assert len(found) == 3 * functions


def test_patches_are_in_the_order_of_the_hardware() -> None:
    pixels = random_images(3, seed=0)
    assert (patches(torch.from_numpy(pixels), 4).numpy() == reference_patches(pixels, 4)).all()


def test_normalisation_is_the_usual_one() -> None:
    pixels = random_images(3, seed=0)
    expected = (pixels / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(Normalise()(torch.from_numpy(pixels)).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_token_norm_is_a_batchnorm_per_channel_and_an_affine_in_evaluation() -> None:
    torch.manual_seed(0)
    norm = TokenNorm(6)
    x = torch.randn(10, 7, 6) * 3 + 1
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std((0, 1), correction=0), torch.ones(6), atol=1e-3, rtol=0)
    norm.eval()
    weight, bias = norm.as_affine()
    torch.testing.assert_close(norm(x), x * weight + bias)


def test_affine_is_per_channel() -> None:
    affine = Affine(3, 0.5)
    with torch.no_grad():
        affine.bias.copy_(torch.tensor([1.0, 2, 3]))
    assert (affine(torch.ones(2, 4, 3)) == torch.tensor([1.5, 2.5, 3.5])).all()
