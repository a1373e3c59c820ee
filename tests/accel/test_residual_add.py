"""ResidualAdd: the RTL against numpy on every pair of codes."""

import numpy as np
import pytest

from accel.instance import InstanceError, Rounding, residual_add
from custom_ops.rounding import shift_right

from .conftest import Check, latency, random_int8


@pytest.mark.parametrize(
    "pe, a_shift, b_shift, shift, rounding",
    [
        (1, 0, 0, 0, Rounding("HALF_EVEN")),
        (2, 0, 2, 3, Rounding("HALF_EVEN")),
        (4, 3, 0, 2, Rounding("HALF_UP", lo=0)),
        (1, 1, 0, 1, Rounding("HALF_UP", -128, 100)),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, pe, a_shift, b_shift, shift, rounding):
    a, b = random_int8(1, 3, 10, 24), random_int8(2, 3, 10, 24)
    total = (a.astype(np.int64) << a_shift) + (b.astype(np.int64) << b_shift)
    y = np.clip(shift_right(total, shift, rounding.rounding), rounding.lo, rounding.hi)
    instance = residual_add("dut", a[0].size, pe, a_shift, b_shift, shift, rounding)
    run = check(instance, {"s_axis_a": a, "s_axis_b": b}, {"m_axis": y})
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[0] == len(cycles) - 1, "one beat a cycle"
    assert latency(run) == 6


def test_bad_shifts_are_refused():
    with pytest.raises(InstanceError, match=r"add: shifts 0, -1, 0 are not in 0\.\.31"):
        residual_add("add", 8, 1, 0, -1, 0, Rounding())
