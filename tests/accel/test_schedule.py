"""The cycles that an op's timing foretells are those of its RTL, at every beat, stalled or not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper

from accel.emit import instance_of
from accel.verilate import Run, Simulator
from custom_ops import HW_DOMAIN
from custom_ops.hw import HwNode, hardware_node
from custom_ops.hw.timing import NEVER, in_order

from .conftest import random_int8

IMAGES = 4


def int32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@dataclass
class Case:
    """One node: its input's shape without the batch, its constants and attributes."""

    op: str
    shape: tuple[int, ...]
    constants: tuple[np.ndarray, ...] = ()
    attributes: dict[str, int] = field(default_factory=dict)
    bits: int = 8

    def build(self) -> tuple[NodeProto, HwNode, dict, dict]:
        streams = ["x", "x2"] if self.op == "ResidualAdd" else ["x"]
        names = [f"c{i}" for i in range(len(self.constants))]
        outputs = ["y", "y2"] if self.op == "Fork" else ["y"]
        node = helper.make_node(self.op, [*streams, *names], outputs, "dut", domain=HW_DOMAIN, **self.attributes)
        constants = dict(zip(names, self.constants, strict=True))
        shapes = dict.fromkeys(streams, (1, *self.shape))
        hw = hardware_node(node, constants, shapes, dict.fromkeys(streams, self.bits))
        return node, hw, constants, shapes


def requant_of(channels: int) -> tuple[np.ndarray, ...]:
    return int32(*[3] * channels), int32(*[5] * channels), int32(*[2] * channels)


def ids(case: Case) -> str:
    return "-".join([case.op, *(f"{k}{v}" for k, v in case.attributes.items()), "x".join(map(str, case.shape))])


def matrix(op: str, count: int, size: int, other: int, shift: bool = True, **folding: int) -> Case:
    """MatVec: `size` rows of `other` columns on `count` tokens; TokenMix: `size` rows of `other` tokens of `count` channels."""
    shape = (count, other) if op == "MatVec" else (other, count)
    constants = (random_int8(2, size, other), int32(*range(size)), int32(*[4] * size))
    return Case(op, shape, constants if shift else constants[:2], folding)


CASES = [
    Case("Fork", (5, 6)),
    Case("Fork", (5, 6), attributes={"PE": 3}, bits=32),
    *(Case("Fifo", (5, 8), attributes={"depth": d}) for d in (1, 2, 3, 17, 64, 65, 90)),
    Case("WidthConverter", (5, 12), attributes={"in_lanes": 2, "out_lanes": 6}),
    Case("WidthConverter", (5, 12), attributes={"in_lanes": 4, "out_lanes": 1}),
    Case("WidthConverter", (5, 12), attributes={"in_lanes": 3, "out_lanes": 3}),
    Case("ChannelLUT", (5, 6), (random_int8(1, 6, 256),)),
    Case("ChannelLUT", (5, 6), (random_int8(1, 6, 256),), {"PE": 3}),
    Case("ChannelLUT", (5, 6), (random_int8(1, 6, 65),), {"PE": 2}),
    Case("ChannelRequant", (5, 6), requant_of(6), {"PE": 2}),
    Case("ResidualAdd", (5, 6), attributes={"shift": 1}),
    Case("TokenMean", (4, 6), attributes={"shift": 2}),
    Case("TokenMean", (2, 40), attributes={"shift": 1, "PE": 1}),
    Case("TokenMean", (1, 20), attributes={"PE": 1}),
    matrix("MatVec", 5, 6, 8),
    matrix("MatVec", 5, 6, 8, SIMD=4, PE=3),
    matrix("MatVec", 5, 6, 8, SIMD=2, PE=2, in_lanes=4, out_lanes=6),
    matrix("MatVec", 5, 6, 8, SIMD=8),
    matrix("MatVec", 5, 6, 8, SIMD=8, PE=3, in_lanes=2),
    matrix("MatVec", 5, 6, 8, PE=6),
    matrix("MatVec", 5, 6, 8, PE=6, SIMD=2),
    matrix("MatVec", 5, 12, 8, PE=12, SIMD=8, in_lanes=8, out_lanes=2),
    matrix("MatVec", 5, 12, 8, PE=3, SIMD=8, in_lanes=1, out_lanes=12),
    matrix("MatVec", 5, 12, 8, PE=2, SIMD=1, in_lanes=1, out_lanes=4),
    matrix("MatVec", 5, 12, 8, PE=4, SIMD=2, in_lanes=1, out_lanes=1),
    matrix("MatVec", 1, 10, 12, shift=False, SIMD=3),
    matrix("MatVec", 3, 4, 96),
    matrix("TokenMix", 6, 4, 4),
    matrix("TokenMix", 6, 4, 8, SIMD=4, PE=3),
    matrix("TokenMix", 6, 4, 8, SIMD=2, PE=2, in_lanes=6, out_lanes=6),
    matrix("TokenMix", 6, 8, 4, SIMD=4, PE=3, in_lanes=1, out_lanes=1),
    matrix("TokenMix", 6, 8, 4, SIMD=4, PE=1, in_lanes=2, out_lanes=2),
    matrix("TokenMix", 12, 8, 4, SIMD=1, PE=4, in_lanes=4, out_lanes=2),
    Case("Patches", (8, 8, 3), attributes={"patch": 4}),
    Case("Patches", (8, 4, 3), attributes={"patch": 2, "PE": 3}),
]

Simulate = Callable[[Case, int, float, float], tuple[HwNode, Run]]


@pytest.fixture
def simulate(verilated: Callable[..., Simulator], tmp_path: Path) -> Simulate:
    """simulate(case, seed, chance of a new beat, chance that an output is read): the planned node and the run of IMAGES images."""

    def run(case: Case, seed: int, valid: float, ready: float) -> tuple[HwNode, Run]:
        node, hw, constants, shapes = case.build()
        instance = instance_of(node, hw, constants, shapes)
        packets = dict(zip(instance.inputs, hw.in_beats, strict=True))
        simulator = verilated(instance, packets, tmp_path)
        rng = np.random.default_rng(seed)
        feeds = {
            prefix: rng.integers(0, 256, (IMAGES * packets[prefix], width), dtype=np.uint8)
            for prefix, width in instance.inputs.items()
        }
        beats = {prefix: IMAGES * n for prefix, n in zip(instance.outputs, hw.out_beats, strict=True)}
        return hw, simulator.run(feeds, beats, seed, valid, ready)

    return run


def times(run: Run) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of inputs and outputs, as int64."""
    taken = [cycles.astype(np.int64) for cycles in run.taken.values()]
    return taken, [beats.cycles.astype(np.int64) for beats in run.outputs.values()]


@pytest.mark.parametrize("valid", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_outputs_leave_when_the_schedule_says(simulate: Simulate, case: Case, valid: float):
    hw, run = simulate(case, 3, valid, 1.0)
    taken, left = times(run)
    for foretold, measured in zip(hw.timing.schedule(taken), left, strict=True):
        np.testing.assert_array_equal(foretold, measured)


@pytest.mark.parametrize("ready", [1.0, 0.6, 0.1, 0.02])
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_eager_source_is_taken_from_when_there_is_room(simulate: Simulate, case: Case, ready: float):
    hw, run = simulate(case, 5, 1.0, ready)
    taken, left = times(run)
    for room, measured in zip(hw.timing.room(taken, left), taken, strict=True):
        np.testing.assert_array_equal(in_order(np.maximum(room, measured[0])), measured)


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_no_beat_leaves_or_is_taken_earlier_under_random_stalls(simulate: Simulate, case: Case):
    hw, run = simulate(case, 7, 0.5, 0.3)
    taken, left = times(run)
    for bound, measured in zip(hw.timing.schedule(taken, left), left, strict=True):
        assert (measured >= bound).all()
        assert (bound > NEVER // 2).all()
    for bound, measured in zip(hw.timing.room(taken, left), taken, strict=True):
        assert (measured >= bound).all()
