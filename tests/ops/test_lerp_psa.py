"""LerpPSA: PSA on a grid, linear between its points."""

import numpy as np
import pytest
from onnx import TensorProto

from custom_ops import LerpPSA
from custom_ops.grid_lerp import grid_lerp
from custom_ops.lerp_psa import lerp_psa, lerp_psa_table
from custom_ops.psa import psa

from .faces import inferred, run_faces
from .test_psa import parameters

OPTIONS = [{}, {"epsilon": 0.25, "grid": 33, "bound": 2.5}, {"residual": 1}]


@pytest.mark.parametrize("options", OPTIONS)
def test_faces_agree_to_the_rounding_of_the_table(options):
    """A table entry may differ by one float32 rounding (see PSA), hence a result by the slope of its segment times that."""
    x = np.random.default_rng(0).normal(0, 3, (2, 500, 4)).astype(np.float32)
    trained = parameters(1)
    faces = run_faces(LerpPSA, x, *trained, **options)
    grid, bound = options.get("grid", 64), options.get("bound", 4.0)
    table = lerp_psa_table(*trained, epsilon=options.get("epsilon", 1.0), grid=grid, bound=bound)
    segments = 1 + np.abs(x) * (grid - 1) / (2 * bound)  # how far beyond the grid, at most
    for (got,) in faces.values():
        (expected,) = faces["numpy"]
        assert got.dtype == np.float32
        assert (np.abs(got - expected) <= 4 * segments * np.spacing(np.abs(table).max())).all()


def test_the_table_is_psa_at_equally_spaced_points():
    trained = parameters(2)
    table = lerp_psa_table(*trained, epsilon=1.0, grid=65, bound=4.0)
    points = np.repeat(np.arange(-4, 4.125, 0.125, np.float32)[:, None], 4, 1)
    np.testing.assert_array_equal(table, psa(points, *trained).T)


def test_reference_is_grid_lerp_of_the_table():
    x = np.random.default_rng(3).normal(0, 5, (100, 4)).astype(np.float32)
    trained = parameters(4)
    table = lerp_psa_table(*trained, grid=64, bound=4.0)
    np.testing.assert_array_equal(lerp_psa(x, *trained, residual=1), grid_lerp(x, table, residual=1))


def test_a_finer_grid_comes_closer_to_psa():
    x = np.random.default_rng(5).uniform(-4, 4, (1000, 4)).astype(np.float32)
    trained = parameters(6)
    errors = [np.abs(lerp_psa(x, *trained, grid=grid) - psa(x, *trained)).max() for grid in (16, 64, 256)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    x = np.zeros((2, 5, 4), np.float32)
    assert inferred(LerpPSA, x, *parameters(7)) == [(["N", 5, 4], TensorProto.FLOAT, "FLOAT32")]
