"""The schedule of a whole graph: it keeps every module's constraints, and its latency is that of the path it names."""

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.hw.timing import in_order, places
from passes.graph import Graph
from passes.schedule import Network, foretold, latency, network, periodic
from tests.passes.graphs import parse

CONSTANTS = "int8[8,256] t = {" + ", ".join(["1"] * 2048) + "}, int8[8,8] w = {" + ", ".join(["1"] * 64) + "}"
VECTORS = ", ".join(f"int32[8] {name} = {{1, 1, 1, 1, 1, 1, 1, 1}}" for name in ("b", "s"))


def net(body: str) -> Network:
    return network(Graph(ModelWrapper(parse(f"g (int8[N,4,8] x) => (int8[N,4,8] y) <{CONSTANTS}, {VECTORS}> {{ {body} }}"))))


CHAIN = "[lut] l = psaflow.hw.ChannelLUT (x, t) [unit] m = psaflow.hw.MatVec <SIMD = 4> (l, w, b, s) y = Identity (m)"


def test_it_finds_source_sink_and_the_slowest_module_through_renamed_tensors() -> None:
    found = net(CHAIN)
    assert (found.source, found.sink, found.period) == ("x", "m", 4 * 8 * 2)
    assert [unit.name for unit in found.units] == ["lut", "unit"]


def test_latency_adds_up_along_the_path_that_the_first_logit_waits_for() -> None:
    first = latency(net(CHAIN))
    # The last beat of a token, 4 cycles of the table, 1 + 2 + 1 + 7 of the unit: its wait, its two columns, its tree and its core.
    assert first.by_node == (("x", 7), ("lut", 4), ("unit", 11))
    assert first.cycles == 22


def test_a_join_waits_for_its_later_branch() -> None:
    first = latency(net("""[fork] a, c = psaflow.hw.Fork (x) [lut] l = psaflow.hw.ChannelLUT (a, t)
                           [sum] y = psaflow.hw.ResidualAdd <shift = 1> (c, l)"""))  # fmt: skip
    assert first.by_node == (("x", 0), ("fork", 1), ("lut", 4), ("sum", 6))


def test_the_periodic_schedule_repeats_and_keeps_every_constraint() -> None:
    found = net(CHAIN)
    times = periodic(found)
    assert times is not None
    for unit in found.units:
        shifts = found.period * np.arange(5)[:, None]
        taken, left = ([(times[link] + shifts).ravel() for link in links] for links in (unit.inputs, unit.outputs))
        assert all((np.diff(t) >= 1).all() for t in (*taken, *left))
        assert (left[0] >= unit.timing.schedule(taken, left)[0]).all()
        assert (taken[0] >= unit.timing.room(taken, left)[0]).all()


def test_a_schedule_whose_logits_would_come_later_than_asked_is_none() -> None:
    found = net(CHAIN)
    times = periodic(found)
    assert times is not None
    assert periodic(found, times, times["m"]) is not None
    assert periodic(found, {**times, "x": times["x"] + 1}, times["m"]) is None


def test_a_report_says_where_the_cycles_go() -> None:
    model = ModelWrapper(parse(f"g (int8[N,4,8] x) => (int8[N,4,8] y) <{CONSTANTS}, {VECTORS}> {{ {CHAIN} }}"))
    said = foretold(model, guard=False)
    assert said is not None
    assert (said["cycles_per_image"], said["latency_cycles"]) == (64, 22)
    guarded = foretold(model, guard=True)
    assert guarded is not None
    assert guarded["latency_cycles"] == 23
    assert said["latency"][-1] == {"node": "unit", "cycles": 11}


def test_beats_in_order_leave_one_an_interval() -> None:
    earliest = np.array([0, 0, 9, 3, 30])
    assert in_order(earliest).tolist() == [0, 1, 9, 10, 30]
    assert in_order(earliest, 4).tolist() == [0, 4, 9, 13, 30]


def test_a_place_is_free_a_cycle_after_its_beat_has_left() -> None:
    assert places(np.array([3, 5, 8, 9]), 2)[2:].tolist() == [4, 6]
