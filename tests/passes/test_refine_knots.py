"""Knots moved for the network's answers."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from onnx import ModelProto

from custom_ops.runtime import session
from passes.check import logits
from passes.compress_lut import CompressLUT
from passes.refine_knots import RefineKnots, softmax
from tests.passes.graphs import apply, assert_equal_values, assert_untouched
from tests.passes.tables import network, pixels, tables_in

IMAGES, UNSEEN = pixels(600), pixels(600, seed=9)
WANTED = softmax(logits(network(), IMAGES).reshape(len(IMAGES), -1))


def batches(seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of 64 images with the answers of full tables."""
    rng = np.random.default_rng(seed)
    while True:
        chosen = rng.choice(len(IMAGES), 64, replace=False)
        yield IMAGES[chosen], WANTED[chosen]


def divergence(model: ModelProto, images: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence from the answers of full tables to those of `model`."""
    wanted, given = (softmax(logits(m, images)) for m in (network(), model))
    return float((wanted * np.log(wanted / given)).sum(1).mean())


def inner_error(model: ModelProto, images: np.ndarray) -> float:
    """Mean squared difference, in codes, to full tables where the branches have met."""
    codes = [session(m, outputs=["z"]).run(None, {"pixels": images})[0].astype(float) for m in (network(), model)]
    return float(((codes[0] - codes[1]) ** 2).mean())


def test_answers_and_codes_inside_come_nearer_also_on_images_that_were_not_seen() -> None:
    start = apply(network(), CompressLUT(16, method="subsample"))
    refined = apply(start, RefineKnots(network(), batches(), steps=150, rate=0.3, label=0))
    for images in (IMAGES, UNSEEN):
        assert divergence(refined, images) < divergence(start, images) / 2
        assert inner_error(refined, images) < inner_error(start, images) * 0.6
    assert [t.shape for t in tables_in(refined)] == [t.shape for t in tables_in(start)]
    assert all(t.dtype == np.int8 for t in tables_in(refined))
    assert [n.op_type for n in refined.graph.node] == [n.op_type for n in start.graph.node]


def test_what_is_exact_already_stays_so() -> None:
    whole = apply(network(), CompressLUT(16))
    after = apply(whole, RefineKnots(whole, batches(), steps=20, label=0))
    assert_equal_values(whole, after, pixels=IMAGES)


def test_the_same_batches_give_the_same_knots() -> None:
    start = apply(network(), CompressLUT(16))
    first, second, other = (tables_in(apply(start, RefineKnots(network(), batches(s), steps=8, rate=5))) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, second))
    assert any((a != b).any() for a, b in zip(first, other))


def test_full_tables_are_left_alone_and_two_tables_of_one_array_part() -> None:
    assert_untouched(network(), RefineKnots(network(), batches(), steps=1))
    shared = apply(network({"table_2": tables_in(network())[0]}), CompressLUT(16))
    for node in shared.graph.node:
        if node.name == "act2":
            node.input[1] = next(n.input[1] for n in shared.graph.node if n.name == "act1")
    refined = apply(shared, RefineKnots(network(), batches(), steps=20, rate=3))
    assert (tables_in(refined)[0] != tables_in(refined)[1]).any()


def test_images_without_answers_and_batches_that_end_early_are_refused() -> None:
    start = apply(network(), CompressLUT(16))
    with pytest.raises(ValueError, match="3 images and 2 answers"):
        apply(start, RefineKnots(network(), [(pixels(3), np.zeros((2, 3)))], steps=1))
    with pytest.raises(ValueError, match="2 batches for 3 steps"):
        apply(start, RefineKnots(network(), islice(batches(), 2), steps=3))


def test_what_is_wanted_counts_as_much_as_it_is_told_to() -> None:
    """Wanted is class 0 for all images: more images come to it, and no more than before where that counts nothing."""
    start = apply(network(), CompressLUT(16))
    wanted, shares = np.eye(3)[[0] * 64], []
    for label in (0, 10):
        after = apply(start, RefineKnots(network(), ((i, wanted) for i, _ in batches()), steps=60, rate=0.3, label=label))
        shares.append((logits(after, IMAGES).reshape(len(IMAGES), -1).argmax(1) == 0).mean())
    full = (WANTED.argmax(1) == 0).mean()
    assert abs(shares[0] - full) < 0.01 and shares[1] > full + 0.02
