"""FIFOs where branches meet again, exactly as deep as the schedule of the whole graph needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import HW_DOMAIN
from custom_ops.hw.fifo import SMALL, FifoTiming
from custom_ops.hw.timing import BUFFER, NEVER, Times, Timing
from passes.graph import Graph, PassRefusal
from passes.hardware import hardware_nodes, plan
from passes.schedule import Network, Unit, network, periodic

log = logging.getLogger(__name__)
BLOCK = 2048  # bytes in one block memory of 18 kbit, TLAST in its ninth bits
MORE = 8  # beats with which the search for a depth begins, beyond what FIFOs without latency would hold


class SizeFifos(Transformation):
    """f(long(x), short(x)) -> f(long(x), Fifo(short(x))) wherever beats of one operand wait for the other's.

    The depth is the least with which the network has a schedule that gives an image every `cycles` of its slowest node, its logits no
    later than with any depth, the other FIFOs being as they are; what forks, converters and the FIFO's own registers hold is counted.
    Whatever branches lead from forks to the node, in whatever number, the schedule has them all. Such a schedule exists only if every
    cycle of waiting (for data, for a place) leads through an earlier image, and that does not depend on how long anything takes: so no
    pause at either end, however long, can lead to a deadlock; it only delays. A depth just above whole block memories is split into
    two FIFOs, so that the rest does not cost one more block. A network that has a FIFO already is left alone.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        joins = [n for n in hardware_nodes(graph) if sum(graph.constant(i) is None for i in n.input) > 1]
        if not joins or any(n.op_type == "Fifo" for n in hardware_nodes(graph)):
            return model, False
        for (name, at), parts in size(network(graph)).items():
            self._insert(graph, name, at, parts)
        return model, False

    @staticmethod
    def _insert(graph: Graph, name: str, at: int, parts: tuple[int, ...]) -> None:
        node = next(n for n in hardware_nodes(graph) if n.name == name)
        lanes, tensor = plan(graph, node).in_lanes[at], node.input[at]
        for depth in parts:
            behind = graph.new_name(f"{node.input[at]}_fifo")
            graph.copy_type(node.input[at], behind)
            made = helper.make_node("Fifo", [tensor], [behind], name=behind, domain=HW_DOMAIN, PE=lanes, depth=depth)
            graph.proto.node.insert([id(n) for n in graph.proto.node].index(id(node)), made)
            tensor = behind
            graph.reindex()
        node.input[at] = tensor
        graph.reindex()
        log.info("%s: FIFO of %s beats", name, " + ".join(map(str, parts)))


Place = tuple[str, int]  # (node, which operand)
Depths = dict[Place, tuple[int, ...]]  # beats of the FIFOs in front of an operand, the first one first


@dataclass(frozen=True)
class Unlimited:
    """A FIFO of any depth and no latency: left[i] = taken[i]."""

    reach: int = 0

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        return [taken[0]]

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        return [np.full(len(taken[0]), NEVER, np.int64)]


def size(net: Network) -> Depths:
    """The FIFOs that a network without any needs, and their depths in beats; a refusal where none suffice."""
    operands = {(unit.name, at): unit for unit in net.units if len(unit.inputs) > 1 for at in range(len(unit.inputs))}
    times = periodic(_with_fifos(net, dict.fromkeys(operands)))
    if times is None:
        raise PassRefusal(f"no schedule gives an image every {net.period} cycles, however deep the FIFOs; fold the slowest node more")
    depths: Depths = {}
    for (name, at), unit in operands.items():
        link = unit.inputs[at]
        beats = held(times[link], times[f"{link} >"], net.period)
        if beats > 1:
            depths[name, at] = (_depth(beats) + MORE,)
    times = periodic(_with_fifos(net, depths), times)
    if times is None:
        raise PassRefusal(f"no schedule gives an image every {net.period} cycles with FIFOs of {depths}; fold the slowest node more")
    for place, unit in operands.items():
        if place in depths:
            _make_least(net, depths, place, unit, times)
    return {place: parts for place, parts in depths.items() if parts}


def held(taken: Times, left: Times, period: int) -> int:
    """The most beats of a stream that are between two places, which they pass at the cycles `taken` and `left` of each image.

    A beat that passes both at once counts as 1.
    """
    images = 1 + int(max(left[-1] - taken[0], 0)) // period + 1
    all_taken = (taken[None, :] + period * np.arange(-images, images + 1)[:, None]).ravel()
    return int((np.searchsorted(all_taken, left, side="right") - images * len(taken) - np.arange(len(left))).max())


def _depth(beats: int) -> int:
    """The depth of a FIFO that holds `beats` beats with its registers."""
    return max(beats - 1, 1) if beats - 1 <= SMALL else max(beats - BUFFER, SMALL + 1)


def _with_fifos(net: Network, depths: Mapping[Place, tuple[int, ...] | None]) -> Network:
    """The network with FIFOs in front of operands: of these depths, or one without bounds where there are none."""
    units: list[Unit] = []
    for unit in net.units:
        inputs = list(unit.inputs)
        for at, link in enumerate(unit.inputs):
            if (unit.name, at) not in depths:
                continue
            parts = depths[unit.name, at]
            timings: list[Timing] = [Unlimited()] if parts is None else [FifoTiming(depth) for depth in parts]
            for number, timing in enumerate(timings):
                behind = f"{link} >" if number == len(timings) - 1 else f"{link} > {number}"
                units.append(Unit(f"{link} {number}", timing, (inputs[at],), (behind,), (unit.beats[at],) * 2))
                inputs[at] = behind
        units.append(replace(unit, inputs=tuple(inputs)))
    return replace(net, units=tuple(units))


def _suffice(net: Network, depths: Depths, times: Mapping[str, Times]) -> bool:
    return periodic(_with_fifos(net, depths), times, times[net.sink]) is not None


def _make_least(net: Network, depths: Depths, place: Place, unit: Unit, times: Mapping[str, Times]) -> None:
    """Lower the depth at `place` as far as the others let it, and split it where that spares a block memory."""

    def suffices(parts: tuple[int, ...]) -> bool:
        return _suffice(net, {**depths, place: parts}, times)

    depth = _least(depths[place][0], lambda d: suffices((d,) if d else ()))
    depths[place] = (depth,) if depth else ()
    block = BLOCK // unit.lanes[place[1]]
    whole = depth // block * block
    if whole and 0 < depth - whole <= SMALL:
        rest = next((r for r in range(1, SMALL + 1) if suffices((whole, r))), None)
        if rest is not None:
            depths[place] = (_least(whole, lambda d: suffices((d, rest))), rest)


def _least(enough: int, suffices: Callable[[int], bool]) -> int:
    """The least depth that suffices, if `enough` does and more is never worse: down by 1, 2, 4 ... and then by halves."""
    step, low = 1, -1
    while enough > 0:
        tried = max(enough - step, 0)
        if not suffices(tried):
            low = tried
            break
        enough, step = tried, 2 * step
    while enough - low > 1:
        middle = (low + enough) // 2
        low, enough = (low, middle) if suffices(middle) else (middle, enough)
    return enough
