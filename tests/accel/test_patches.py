"""Patches: the RTL against numpy, its throughput, its refusals."""

import numpy as np
import pytest

from accel.instance import InstanceError, patches

from .conftest import Check, cycles_per_image

IMAGES = 3


@pytest.mark.parametrize(
    "height, width, colours, patch, pe",
    [(8, 8, 3, 4, 1), (8, 12, 3, 4, 3), (4, 6, 1, 2, 2), (3, 2, 3, 1, 1)],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, height, width, colours, patch, pe):
    x = np.random.default_rng(1).integers(0, 256, (IMAGES, height, width, colours))
    grid = x.reshape(IMAGES, height // patch, patch, width // patch, patch, colours)
    y = grid.transpose(0, 1, 3, 2, 4, 5).reshape(IMAGES, -1, patch * patch * colours)
    run = check(patches("dut", height, width, colours, patch, pe), {"s_axis": x}, {"m_axis": y})
    assert (cycles_per_image(run, IMAGES) == x[0].size // pe).all()
    order = np.arange(x.size // pe).reshape(IMAGES, height // patch, patch, width // patch, -1).transpose(0, 1, 3, 2, 4)
    expected = []  # a beat leaves 5 cycles after it came, or one after the beat before it
    for came in order.ravel().tolist():
        expected.append(max(came + 5, expected[-1] + 1 if expected else 0))
    np.testing.assert_array_equal(run.outputs["m_axis"].cycles - run.first_input_cycle["s_axis"], expected)


def test_lanes_that_do_not_divide_a_line_of_a_patch_are_refused():
    with pytest.raises(
        InstanceError, match="PE=8 must divide 12 bytes of a patch's line; try 1, 2, 3, 4, 6, 12"
    ):
        patches("patches_0", 32, 32, 3, 4, 8)
    with pytest.raises(InstanceError, match="patch=5 must divide 32 lines"):
        patches("patches_0", 32, 32, 3, 5, 1)
