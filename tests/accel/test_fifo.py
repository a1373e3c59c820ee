"""Fifo: order, capacity and throughput of the register, distributed and block RAM sizes."""

import numpy as np
import pytest

from accel.instance import InstanceError, fifo

from .conftest import Check, latency, random_int8


@pytest.mark.parametrize("depth, lanes, bits", [(1, 1, 8), (17, 3, 8), (64, 1, 32), (65, 1, 8), (100, 4, 8)])
def test_rtl_equals_reference_under_random_stalls(check: Check, depth, lanes, bits):
    rng = np.random.default_rng(depth)
    x = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (4, 10, 12))
    run = check(fifo("dut", depth, lanes, bits), {"s_axis": x}, {"m_axis": x}, bits, bits)
    cycles = run.outputs["m_axis"].cycles
    assert latency(run) == (2 if depth <= 64 else 5)
    if depth > 2:
        assert cycles[-1] - cycles[0] == len(cycles) - 1, "one beat a cycle"


@pytest.mark.parametrize("depth", [5, 70])
def test_it_holds_depth_beats_before_it_stops_the_source(verilated, tmp_path, depth):
    x = random_int8(1, 3 * depth).view("uint8").reshape(-1, 1)
    simulator = verilated(fifo("dut", depth, 1), {"s_axis": len(x)}, tmp_path)
    run = simulator.run({"s_axis": x}, {"m_axis": len(x)}, 1, ready_probability=0.002, idle_cycles=10**6)
    assert (run.outputs["m_axis"].data == x).all()
    sent_ahead = run.last_input_cycle["s_axis"] > run.outputs["m_axis"].cycles
    assert len(x) - sent_ahead.sum() >= depth


def test_no_beat_is_no_fifo():
    with pytest.raises(InstanceError, match="fifo_0: depth=0 must be at least 1 beat"):
        fifo("fifo_0", 0, 1)
