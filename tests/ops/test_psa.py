"""PSA: the exact learnable function."""

import math

import numpy as np
import pytest
from onnx import TensorProto

from custom_ops import PSA
from custom_ops.psa import psa

from .faces import inferred, run_faces


def parameters(seed, channels=4, features=8):
    """(q_w, q_b, v, o_w, o_b), as trained ones look."""
    rng = np.random.default_rng(seed)
    shapes = [(channels, features)] * 3 + [(channels,)] * 2
    return tuple(rng.normal(0, 1.5, shape).astype(np.float32) for shape in shapes)


def by_hand(x, parameters_of_channel, epsilon):
    """One element of one channel, from the article's formula, in Python floats."""
    q_w, q_b, v, o_w, o_b = parameters_of_channel
    e = [math.exp(-((x - b) ** 2) / (w * w + epsilon)) for w, b in zip(q_w, q_b)]
    return o_w * sum(p * value for p, value in zip(e, v)) / sum(e) * x + o_b


@pytest.mark.parametrize("epsilon", [1.0, 0.5])
def test_reference_equals_the_formula(epsilon):
    q_w, q_b, v, o_w, o_b = parameters(0)
    x = np.random.default_rng(1).normal(0, 3, (50, 4)).astype(np.float32)
    y = psa(x, q_w, q_b, v, o_w, o_b, epsilon=epsilon)
    for n in range(50):
        for c in range(4):
            row = [p[c].astype(float) for p in (q_w, q_b, v, o_w, o_b)]
            assert y[n, c] == pytest.approx(by_hand(float(x[n, c]), row, epsilon), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("residual", [0, 1])
def test_faces_agree_to_one_rounding_of_float32(residual):
    """The exponential of numpy and of onnxruntime may differ in float64's last bit; rounded to float32 that is rare."""
    x = np.random.default_rng(2).normal(0, 4, (2, 300, 4)).astype(np.float32)
    faces = run_faces(PSA, x, *parameters(3), residual=residual)
    for (got,) in faces.values():
        (expected,) = faces["numpy"]
        assert got.dtype == np.float32
        assert np.abs(got - expected).max() <= np.spacing(np.abs(expected)).max()
        assert (got != expected).mean() < 1e-3


def test_far_inputs_do_not_overflow_the_softmax():
    x = np.array([[-1e4, 1e4, 30, -30]], np.float32)
    assert np.isfinite(psa(x, *parameters(4))).all()


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    x = np.zeros((2, 5, 4), np.float32)
    assert inferred(PSA, x, *parameters(5)) == [(["N", 5, 4], TensorProto.FLOAT, "FLOAT32")]
