"""TokenMean: the RTL against numpy, also where a channel comes back in the next cycle."""

import numpy as np
import pytest

from accel.instance import InstanceError, Rounding, token_mean
from custom_ops.rounding import shift_right

from .conftest import Check, cycles_per_image, latency, random_int8

IMAGES = 4


@pytest.mark.parametrize(
    "tokens, channels, pe, shift, rounding",
    [
        (8, 6, 1, 3, Rounding("HALF_EVEN")),
        (16, 6, 6, 4, Rounding("HALF_UP")),
        (5, 4, 2, 2, Rounding("HALF_EVEN", lo=0)),
        (1, 3, 1, 0, Rounding("HALF_EVEN")),
        (64, 2, 1, 6, Rounding("HALF_EVEN", -20, 20)),
    ],
)
def test_rtl_equals_reference_under_random_stalls(check: Check, tokens, channels, pe, shift, rounding):
    x = random_int8(tokens, IMAGES, tokens, channels)
    total = x.astype(np.int64).sum(axis=1)
    y = np.clip(shift_right(total, shift, rounding.rounding), rounding.lo, rounding.hi)
    instance = token_mean("dut", tokens, channels, pe, shift, rounding)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    assert (cycles_per_image(run, IMAGES) == tokens * channels // pe).all()
    assert latency(run) == (tokens - 1) * channels // pe + 7


def test_a_folding_that_does_not_divide_is_refused():
    with pytest.raises(InstanceError, match="mean: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        token_mean("mean", 8, 6, 4, 3, Rounding())
