"""GridLerp: float32 linear interpolation, the same bits everywhere."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from custom_ops import GridLerp, OpError, check_node
from custom_ops.grid_lerp import grid_lerp

from .faces import assert_faces_agree, inferred


def inputs(seed, channels, points, bound):
    """x float32 [n, channels] with the grid's points, their neighbours, far outside, zeros and random; table."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(-bound, bound, points).astype(np.float32)
    around = np.concatenate([grid, np.nextafter(grid, np.float32(np.inf)), np.nextafter(grid, np.float32(-np.inf))])
    far = np.array([0, -0.0, 1e6, -1e6, 3e38, -3e38, 1e-40], np.float32)
    random = rng.normal(0, bound, 2000).astype(np.float32)
    x = np.concatenate([around, far, random])
    return np.repeat(x[:, None], channels, 1), rng.normal(0, 3, (channels, points)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize(("points", "bound"), [(64, 4.0), (65, 4.0), (2, 1.0), (17, 2.7)])
def test_faces_agree_bit_for_bit(points, bound, residual):
    x, table = inputs(points, 3, points, bound)
    assert_faces_agree(GridLerp, x, table, bound=bound, residual=residual)


@pytest.mark.filterwarnings("ignore:overflow")
def test_reference_equals_float32_steps_written_out():
    x, table = inputs(0, 1, 64, 4.0)
    f32 = np.float32
    for value, got in zip(x[200:400, 0], grid_lerp(x, table)[200:400, 0]):
        t = f32(f32(value + f32(4)) * f32(f32(63) / f32(8)))
        k = min(max(int(np.floor(t)), 0), 62)
        assert got == f32(table[0, k] + f32(f32(t - f32(k)) * f32(table[0, k + 1] - table[0, k])))


def test_grid_points_of_an_exact_grid_give_the_table():
    table = np.random.default_rng(1).normal(size=(2, 65)).astype(np.float32)
    x = np.repeat(np.arange(-4, 4, 0.125, np.float32)[:, None], 2, 1)
    np.testing.assert_array_equal(grid_lerp(x, table), table[:, :-1].T)


def test_the_end_segments_extrapolate():
    table = np.array([[0, 1, 4]], np.float32)  # at -1, 0, 1
    x = np.array([[-3], [3]], np.float32)
    np.testing.assert_array_equal(grid_lerp(x, table, bound=1.0), [[-2], [10]])


def test_shape_and_datatype_are_inferred_for_a_dynamic_batch():
    x, table = np.zeros((2, 5, 3), np.float32), np.zeros((3, 64), np.float32)
    assert inferred(GridLerp, x, table) == [(["N", 5, 3], TensorProto.FLOAT, "FLOAT32")]


def test_a_double_table_is_refused():
    node = helper.make_node("GridLerp", ["x", "t"], ["y"], name="f", domain="psaflow")
    with pytest.raises(OpError, match="GridLerp f: table 't' is DOUBLE, must be FLOAT"):
        check_node(node, {"x": TensorProto.FLOAT, "t": TensorProto.DOUBLE})
