"""When every beat of an accelerator moves: a schedule that repeats with each image, and the way of the first image.

The modules and their streams are a marked graph: an event (a beat handed over on a link) happens as soon as those that it waits
for have happened, some of them images before: data, or a place in a buffer. A schedule is periodic if image n + 1 does all that
image n does `period` cycles later. If one exists that keeps every constraint, the graph left to itself is at least as fast, whatever its
source and its sink do in between (Baccelli, Cohen, Olsder, Quadrat, Synchronization and Linearity, 1992, theorem 2.31 and section 2.6);
and every cycle of constraints then leads through an earlier image, so that nothing can wait for itself: no deadlock. Pauses at the
ends only add delay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops import HW_DOMAIN
from custom_ops.hw.timing import Times, Timing, in_order
from passes.graph import Graph, PassRefusal
from passes.hardware import plan

RENAMES = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")  # same elements in the same order
GUARD = 1  # cycles that a beat spends in the input guard
ROUNDS = 100  # sweeps over the graph after which a schedule that still moves is given up


@dataclass(frozen=True)
class Unit:
    """One module with the links (tensors) of its streams, and the beats of an image on each."""

    name: str
    timing: Timing
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    beats: tuple[int, ...]  # of the inputs, then of the outputs
    lanes: tuple[int, ...] = ()  # bytes of a beat of the inputs

    @property
    def images(self) -> int:
        """Images that must be looked at for the last of them to feel all that it waits for, none taking longer than a period."""
        return 2 + max(2, math.ceil(self.timing.reach / min(self.beats)))


@dataclass(frozen=True)
class Network:
    """Units in topological order. `source` is the link of the pixels, `sink` that of the logits."""

    units: tuple[Unit, ...]
    source: str
    sink: str
    period: int  # cycles per image of the slowest module

    def beats(self, link: str) -> int:
        """Beats of an image on a link."""
        unit, at = next((u, i) for u in self.units for i, name in enumerate((*u.inputs, *u.outputs)) if name == link)
        return unit.beats[at]


def network(graph: Graph) -> Network:
    """The hardware nodes of a folded graph; a refusal where it has no source or no sink of its own."""
    same: dict[str, str] = {}
    units, slowest = [], 1
    for node in graph.proto.node:
        if node.domain == HW_DOMAIN:
            hw = plan(graph, node)
            inputs = tuple(same.get(i, i) for i in node.input[: len(hw.in_lanes)])
            lanes = tuple(n * hw.in_bits // 8 for n in hw.in_lanes)
            units.append(Unit(node.name, hw.timing, inputs, tuple(node.output), hw.in_beats + hw.out_beats, lanes))
            slowest = max(slowest, hw.cycles)
        elif node.op_type in RENAMES:
            same[node.output[0]] = same.get(node.input[0], node.input[0])
    made, read = {o for u in units for o in u.outputs}, {i for u in units for i in u.inputs}
    sources = sorted(read - made)
    sinks = [same.get(o, o) for o in graph.outputs if same.get(o, o) in made]
    if len(sources) != 1 or len(sinks) != 1:
        raise PassRefusal(f"the hardware nodes read {len(sources)} streams and give {len(sinks)} outputs; one of each is scheduled")
    return Network(tuple(units), sources[0], sinks[0], slowest)


def periodic(net: Network, times: Mapping[str, Times] | None = None, latest: Times | None = None) -> dict[str, Times] | None:
    """The earliest periodic schedule from `times` on: {link: cycles of an image's beats}; None if none is found, or none
    whose logits come by `latest`.

    Without `times` the source is paced evenly over the period. The constraints of all modules are applied until they all hold.
    """
    now = dict(times) if times is not None else {net.source: _paced(net.beats(net.source), net.period)}
    for unit in net.units:  # links that have no times yet
        for link, beats in zip((*unit.inputs, *unit.outputs), unit.beats, strict=True):
            now.setdefault(link, in_order(np.zeros(beats, np.int64)))
    stamp = dict.fromkeys(now, 0)
    seen: dict[tuple[int, bool], list[int]] = {}
    for clock in range(1, ROUNDS + 1):
        moved = False
        for forward in (True, False):
            numbered = list(enumerate(net.units))
            for number, unit in numbered if forward else reversed(numbered):
                links = (*unit.inputs, *unit.outputs)
                if seen.get((number, forward)) == [stamp[link] for link in links]:
                    continue
                for link, bound in _bounds(unit, now, net.period, forward):
                    later = _one_a_cycle(np.maximum(now[link], bound), net.period)
                    if (later > now[link]).any():
                        now[link], stamp[link], moved = later, 2 * clock + (not forward), True
                seen[number, forward] = [stamp[link] for link in links]
        if latest is not None and (now[net.sink] > latest).any():
            return None
        if not moved:
            return now
    return None


def _paced(beats: int, period: int) -> Times:
    return np.arange(beats, dtype=np.int64) * period // beats


def _one_a_cycle(times: Times, period: int) -> Times:
    """The least t >= times with a beat a cycle at most, also from one image to the next."""
    ordered = in_order(times)
    wrapped = ordered[-1] - period + 1
    return ordered if wrapped <= ordered[0] else in_order(np.maximum(ordered, wrapped))


def _bounds(unit: Unit, now: Mapping[str, Times], period: int, forward: bool) -> Iterable[tuple[str, Times]]:
    """The earliest times that the unit leaves to its outputs (forward) or its inputs, of one image."""
    shifts = period * np.arange(1 - unit.images, 1, dtype=np.int64)[:, None]
    taken, left = ([(now[link][None, :] + shifts).ravel() for link in links] for links in (unit.inputs, unit.outputs))
    bounds = unit.timing.schedule(taken, left) if forward else unit.timing.room(taken, left)
    for link, bound in zip(unit.outputs if forward else unit.inputs, bounds, strict=True):
        yield link, bound[-len(now[link]) :]


@dataclass(frozen=True)
class Latency:
    """The first image alone, its bytes sent one beat a cycle: cycles from its first beat in to its first logit, and where they go."""

    cycles: int
    by_node: tuple[tuple[str, int], ...]  # (node or source, cycles) along the path that the first logit waits for


def latency(net: Network) -> Latency:
    """Of the first image through an empty accelerator."""
    times = {net.source: np.arange(net.beats(net.source), dtype=np.int64)}
    for unit in net.units:
        times |= zip(unit.outputs, unit.timing.schedule([times[link] for link in unit.inputs]), strict=True)
    link, beat, path = net.sink, 0, []
    makers = {link: unit for unit in net.units for link in unit.outputs}
    while link != net.source:
        unit = makers[link]
        came_by, came_at = _waited_for(unit, times, unit.outputs.index(link), beat)
        path.append((unit.name, int(times[link][beat] - times[came_by][came_at])))
        link, beat = came_by, came_at
    path.append((net.source, beat))
    return Latency(int(times[net.sink][0]), tuple(reversed(path)))


def _waited_for(unit: Unit, times: Mapping[str, Times], output: int, beat: int) -> tuple[str, int]:
    """(input link, beat): the last beat taken without which output beat `beat` would leave earlier, found by delaying it."""
    taken = [times[link] for link in unit.inputs]
    due = times[unit.outputs[output]][beat]
    for index, link in enumerate(unit.inputs):

        def delays(first: int, index: int = index) -> bool:
            later = [t + (np.arange(len(t)) >= first) if i == index else t for i, t in enumerate(taken)]
            return unit.timing.schedule(later)[output][beat] > due

        low, high = 0, len(taken[index])
        if not delays(0):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if delays(middle) else (low, middle)
        return link, low
    raise AssertionError(f"{unit.name}: output beat {beat} waits for no input")


def foretold(model: ModelWrapper, guard: bool) -> dict[str, Any] | None:
    """What a report says of a folded model: cycles per image, latency in cycles and its shares by node; None if it cannot be scheduled.

    guard: with the input guard that comes with registers.
    """
    try:
        net = network(Graph(model))
    except PassRefusal:
        return None
    first = latency(net)
    by_node: list[dict[str, Any]] = [{"node": name, "cycles": cycles} for name, cycles in first.by_node]
    if guard:
        by_node.insert(1, {"node": "input guard", "cycles": GUARD})
    return {"cycles_per_image": net.period, "latency_cycles": sum(n["cycles"] for n in by_node), "latency": by_node}
