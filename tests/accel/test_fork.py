"""Fork: both branches get every beat, however unevenly they read."""

import pytest

from accel.instance import stream_fork

from .conftest import Check, latency, random_int8


@pytest.mark.parametrize("lanes", [1, 6])
def test_rtl_equals_reference_under_random_stalls(check: Check, lanes):
    x = random_int8(lanes, 3, 10, 12)
    run = check(stream_fork("dut", lanes), {"s_axis": x}, {"m_axis_a": x, "m_axis_b": x})
    assert latency(run) == 1
    for beats in run.outputs.values():
        assert beats.cycles[-1] - beats.cycles[0] == len(beats.cycles) - 1, "one beat a cycle"


def test_a_branch_that_reads_slowly_slows_the_other_and_loses_nothing(verilated, tmp_path):
    x = random_int8(1, 200).view("uint8").reshape(-1, 1)
    simulator = verilated(stream_fork("dut", 1), {"s_axis": 200}, tmp_path)
    ready = {"m_axis_a": 1.0, "m_axis_b": 0.1}
    run = simulator.run({"s_axis": x}, {"m_axis_a": 200, "m_axis_b": 200}, 1, ready_probability=ready)
    for beats in run.outputs.values():
        assert (beats.data == x).all()
    ahead = run.outputs["m_axis_b"].cycles[:-3] > run.outputs["m_axis_a"].cycles[3:]
    assert not ahead.any(), "a runs at most three beats ahead"
