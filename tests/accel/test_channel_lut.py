"""ChannelLUT: the RTL against numpy on every code."""

import numpy as np
import pytest

from accel.instance import InstanceError, channel_lut

from .conftest import Check, latency, random_int8


@pytest.mark.parametrize(
    "channels, pe, lowest", [(6, 1, -128), (6, 3, -128), (3, 1, 0), (1, 1, 0), (12, 12, -128)]
)
def test_rtl_equals_reference_under_random_stalls(check: Check, channels, pe, lowest):
    table = random_int8(channels, channels, 256)
    codes = np.tile(np.arange(256), (2, channels, 1)).transpose(0, 2, 1)
    x = np.random.default_rng(1).permuted(codes, axis=1) + lowest
    y = table[np.arange(channels), x - lowest]
    instance = channel_lut("dut", table, x[0].size, pe, lowest)
    run = check(instance, {"s_axis": x}, {"m_axis": y})
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[0] == len(cycles) - 1, "one beat a cycle"
    assert latency(run) == 4


def test_bad_tables_and_foldings_are_refused():
    with pytest.raises(InstanceError, match="lut: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        channel_lut("lut", random_int8(0, 6, 256), 6, 4)
    with pytest.raises(InstanceError, match="256 codes"):
        channel_lut("lut", random_int8(0, 6, 65), 6, 1)
