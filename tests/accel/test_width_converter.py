"""WidthConverter: the order of the elements in both directions."""

import numpy as np
import pytest

from accel.instance import InstanceError, width_converter

from .conftest import Check


@pytest.mark.parametrize(
    "in_lanes, out_lanes, bits",
    [(1, 12, 8), (12, 1, 8), (6, 3, 8), (4, 4, 8), (4, 1, 32), (1, 2, 32)],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, in_lanes, out_lanes, bits):
    x = np.random.default_rng(1).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (3, 5, 12))
    instance = width_converter("dut", in_lanes, out_lanes, bits)
    run = check(instance, {"s_axis": x}, {"m_axis": x}, bits, bits)
    cycles = run.outputs["m_axis"].cycles
    period = max(1, out_lanes // in_lanes)
    assert cycles[-1] - cycles[0] == period * (len(cycles) - 1), "no bubble"


def test_lanes_that_do_not_divide_each_other_are_refused():
    with pytest.raises(InstanceError, match="4 lanes to 6: one must divide the other; go through 12 lanes"):
        width_converter("width_0", 4, 6)
