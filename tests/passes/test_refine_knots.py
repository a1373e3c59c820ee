"""Knots moved for the network's answers."""

from itertools import islice, repeat

import numpy as np
import pytest

from passes.check import logits
from passes.compress_lut import CompressLUT
from passes.refine_knots import RefineKnots, softmax
from tests.passes.graphs import apply, assert_equal_values, assert_untouched
from tests.passes.tables import network, pixels, tables_in

IMAGES = pixels(600)


def batches(model=None, seed: int = 0):
    """Endless batches of 64 images with the probabilities that `model` (full tables where it is None) gives them."""
    wanted, rng = softmax(logits(network() if model is None else model, IMAGES)), np.random.default_rng(seed)
    while True:
        chosen = rng.choice(len(IMAGES), 64, replace=False)
        yield IMAGES[chosen], wanted[chosen]


def divergence(model, images: np.ndarray) -> float:
    """Mean Kullback-Leibler divergence from the answers of full tables to those of `model`."""
    wanted, given = (softmax(logits(m, images)) for m in (network(), model))
    return float((wanted * np.log(wanted / given)).sum(1).mean())


def test_answers_come_nearer_also_on_images_that_were_not_seen() -> None:
    start = apply(network(), CompressLUT(16, method="subsample"))
    refined = apply(start, RefineKnots(batches(), steps=150, rate=0.2))
    unseen = pixels(600, seed=9)
    assert divergence(refined, IMAGES) < divergence(start, IMAGES) / 2
    assert divergence(refined, unseen) < divergence(start, unseen) * 0.75
    assert [t.shape for t in tables_in(refined)] == [t.shape for t in tables_in(start)]
    assert all(t.dtype == np.int8 for t in tables_in(refined))
    assert [n.op_type for n in refined.graph.node] == [n.op_type for n in start.graph.node]


def test_what_is_exact_already_stays_so() -> None:
    whole = apply(network(), CompressLUT(16))
    after = apply(whole, RefineKnots(batches(whole), steps=20))
    assert_equal_values(whole, after, pixels=IMAGES)


def test_the_same_batches_give_the_same_knots() -> None:
    start = apply(network(), CompressLUT(16))
    first, second, other = (tables_in(apply(start, RefineKnots(batches(seed=s), steps=8, rate=0.5))) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, second))
    assert any((a != b).any() for a, b in zip(first, other))


def test_full_tables_are_left_alone_and_two_tables_of_one_array_part() -> None:
    assert_untouched(network(), RefineKnots(batches(), steps=1))
    shared = apply(network({"table_2": tables_in(network())[0]}), CompressLUT(16))
    for node in shared.graph.node:
        if node.name == "act2":
            node.input[1] = next(n.input[1] for n in shared.graph.node if n.name == "act1")
    refined = apply(shared, RefineKnots(batches(), steps=20, rate=0.5))
    assert (tables_in(refined)[0] != tables_in(refined)[1]).any()


def test_images_without_answers_and_batches_that_end_early_are_refused() -> None:
    start = apply(network(), CompressLUT(16))
    with pytest.raises(ValueError, match="3 images and 2 answers"):
        apply(start, RefineKnots([(pixels(3), np.zeros((2, 3)))], steps=1))
    with pytest.raises(ValueError, match="2 batches for 3 steps"):
        apply(start, RefineKnots(islice(batches(), 2), steps=3))


def test_classes_mixed_into_the_answers_are_learned() -> None:
    """A network whose images all are of class 0 comes to say so more often."""
    start = apply(network(), CompressLUT(16))
    wanted = np.eye(logits(start, IMAGES[:1]).reshape(1, -1).shape[1])[[0] * 64]
    after = apply(start, RefineKnots(repeat((IMAGES[:64], wanted)), steps=30, rate=0.3))
    before, now = ((logits(m, IMAGES).reshape(len(IMAGES), -1).argmax(1) == 0).mean() for m in (start, after))
    assert now > before
