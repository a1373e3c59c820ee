"""Augmentation: valid images of the same shape, one draw per image, the same for the same seed."""

import pytest
import torch

from tests.conftest import random_images
from train.augment import COLOUR, GEOMETRIC, _colour, _warp, augment, crop_and_flip, rand_augment


def planes(count: int, seed: int = 0) -> torch.Tensor:
    """uint8 [count, 3, 32, 32]."""
    return torch.from_numpy(random_images(count, seed)).permute(0, 3, 1, 2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("randaugment", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_any_batch_at_any_seed_gives_valid_images(count: int, randaugment: bool) -> None:
    images = torch.from_numpy(random_images(count, seed=0))
    before = images.clone()
    for seed in range(40 if count < 4 else 3):
        changed = augment(images, generator(seed), randaugment=randaugment)
        assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
        assert changed.is_contiguous()
    assert (images == before).all()


def test_the_same_seed_gives_the_same_images_and_another_gives_others() -> None:
    images = torch.from_numpy(random_images(32, seed=0))
    assert (augment(images, generator(1)) == augment(images, generator(1))).all()
    assert (augment(images, generator(1)) != augment(images, generator(2))).any()


def test_every_image_gets_a_draw_of_its_own() -> None:
    images = planes(1, seed=3).repeat(64, 1, 1, 1)
    assert len({bytes(i.numpy().tobytes()) for i in rand_augment(images, generator())}) > 20
    assert len({bytes(i.numpy().tobytes()) for i in crop_and_flip(images, generator())}) > 40


def test_crops_are_shifts_by_up_to_four_pixels_with_zeros_and_flips() -> None:
    images = planes(200, seed=4)
    shifted = crop_and_flip(images, generator())
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    found = set()
    for source, result in zip(padded, shifted, strict=True):
        windows = {(top, left): source[:, top : top + 32, left : left + 32] for top in range(9) for left in range(9)}
        places = [(False, *at) for at, w in windows.items() if w.equal(result)]
        places += [(True, *at) for at, w in windows.items() if w.flip(2).equal(result)]
        assert places
        found.add(places[0])
    assert {f for f, _, _ in found} == {False, True}
    assert {t for _, t, _ in found} == set(range(9))
    assert len(found) > 80


def test_geometric_identity_and_whole_pixel_translation() -> None:
    x = planes(4).float()
    kept = _warp(x, torch.full((4,), GEOMETRIC.index("identity")), torch.ones(4))
    assert (kept == x).all()
    moved = _warp(x, torch.full((4,), GEOMETRIC.index("translate_x")), torch.ones(4))
    assert (moved != x).any()


@pytest.mark.parametrize("name", COLOUR)
def test_colours_stay_finite_and_close_to_the_range(name: str) -> None:
    x = planes(50).float()
    for sign in (-1.0, 1.0):
        y = _colour(x, name, torch.full((50,), sign))
        assert y.shape == x.shape and torch.isfinite(y).all()


def test_named_colour_operations() -> None:
    x = planes(8).float()
    sign = torch.ones(8)
    assert torch.equal(_colour(x, "brightness", sign), x * 1.27)
    assert (_colour(x, "posterize", sign) % 2 == 0).all()
    assert torch.equal(_colour(x, "solarize", sign), torch.where(x >= 178.5, 255 - x, x))
    stretched = _colour(x, "autocontrast", sign)
    flat = x.amax((2, 3)) == x.amin((2, 3))
    assert torch.equal(stretched.amax((2, 3))[~flat].round(), torch.full_like(stretched.amax((2, 3))[~flat], 255))
    gray = x.mean(1, keepdim=True).expand_as(x)
    torch.testing.assert_close(_colour(gray, "color", sign), gray, atol=0.1, rtol=0)


def test_equalize_spreads_the_histogram() -> None:
    x = (planes(6, seed=8).float() / 8 + 100).floor()
    y = _colour(x, "equalize", torch.ones(6))
    spread = (x.amax((2, 3)) - x.amin((2, 3))) > 8
    assert (y.amax((2, 3))[spread] > 200).all() and (y.amin((2, 3))[spread] < 40).all()
    assert (y >= 0).all() and (y <= 255).all()
