"""Which folding of all nodes together costs least and fits a device: the search behind FoldToTarget."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from onnx import NodeProto

from custom_ops import HW_DOMAIN
from custom_ops.devices import Device
from custom_ops.hw import OPS, HwNode, divisors
from custom_ops.hw.cost import NOTHING, Usage, fabric_lut
from passes.graph import Graph, PassRefusal
from passes.hardware import plan, set_folding

MATRIX = ("MatVec", "TokenMix")
WIDER, MORE = 2, 8  # options of up to so many times the fewest products, or so many products, are tried: they may spare block memories


@dataclass(frozen=True)
class Budget:
    """What a design may take of a device: all DSPs and block memories, and `margin` of its LUTs, so that it can be routed."""

    device: Device
    margin: float = 0.85

    @property
    def lut(self) -> int:
        return int(self.margin * self.device.lut)

    def to_fabric(self, usage: Usage) -> int:
        """Products beyond the DSPs of the device; they are made of LUTs."""
        return max(0, usage.dsp - self.device.dsp)

    def settled(self, usage: Usage) -> Usage:
        """`usage` with the products that have no DSP made of LUTs."""
        moved = self.to_fabric(usage)
        return usage + Usage(moved * fabric_lut(self.device.family), -moved, 0)

    def fits(self, usage: Usage) -> bool:
        settled = self.settled(usage)
        return settled.lut <= self.lut and settled.bram <= self.device.bram

    def share(self, usage: Usage) -> float:
        """Sum of the parts of the device that a design takes: what the search makes small."""
        settled = self.settled(usage)
        return settled.lut / self.device.lut + settled.dsp / self.device.dsp + settled.bram / self.device.bram

    def lacks(self, usage: Usage) -> str:
        """What is short, and by how much."""
        settled, device = self.settled(usage), self.device
        short = []
        if settled.lut > self.lut:
            short.append(f"{settled.lut} LUT, {settled.lut - self.lut} more than {self.margin:.0%} of {device.lut}")
        if settled.bram > device.bram:
            short.append(f"{settled.bram} block RAMs of 18 kbit, {settled.bram - device.bram} more than {device.bram}")
        return " and ".join(short)


@dataclass(frozen=True)
class Choice:
    """A node's folding and what it costs."""

    values: Mapping[str, int]
    planned: HwNode
    usage: Usage


@dataclass
class Search:
    """Foldings of a graph's hardware nodes under a target; `fixed` holds what the user gave, by node name."""

    graph: Graph
    nodes: list[NodeProto]
    budget: Budget
    fixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    _plans: dict[tuple[str, tuple[tuple[str, int], ...]], HwNode | None] = field(default_factory=dict)

    def best(self, target: int, reserve: Usage = NOTHING) -> tuple[dict[str, Choice], Usage]:
        """The cheapest choice of all nodes at `target` cycles that fits beside `reserve`, or the one nearest to fitting; and its sum.

        Exact: sums of choices are merged node by node, and only those that no other beats in every resource go on.
        """
        options = self._options(target)
        cheapest = [min(options[node.name], key=lambda choice: self.budget.share(choice.usage)) for node in self.nodes]
        total = sum((choice.usage for choice in cheapest), reserve)
        if self.budget.fits(total) and not self.budget.to_fabric(total):  # shares add up, so this is the least of all
            return {node.name: choice for node, choice in zip(self.nodes, cheapest, strict=True)}, total
        sums: list[tuple[Usage, tuple[Choice, ...]]] = [(reserve, ())]
        for node in self.nodes:
            sums = _front((usage + choice.usage, (*taken, choice)) for usage, taken in sums for choice in options[node.name])
        fitting = [pair for pair in sums if self.budget.fits(pair[0])]
        if fitting:
            usage, taken = min(fitting, key=lambda pair: self.budget.share(pair[0]))
        else:
            usage, taken = min(sums, key=lambda pair: self._over(pair[0]))
        return {node.name: choice for node, choice in zip(self.nodes, taken, strict=True)}, usage

    def fits(self, target: int, reserve: Usage = NOTHING) -> bool:
        try:
            return self.budget.fits(self.best(target, reserve)[1])
        except PassRefusal:
            return False  # no folding is so quick

    def fastest(self, at_least: int = 1, reserve: Usage = NOTHING) -> int | None:
        """The fewest cycles per image, no fewer than `at_least`, for which a folding fits; None where none does."""
        targets = [cycles for cycles in self._targets() if cycles >= at_least]
        low, high = 0, len(targets)  # whatever fits at a target fits at a slower one
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.fits(targets[middle], reserve) else (middle + 1, high)
        return targets[low] if low < len(targets) else None

    @property
    def slowest(self) -> int:
        """Cycles per image of the smallest folding of all."""
        return self._targets()[-1]

    def relief(self, cycles: int, choices: Mapping[str, Choice]) -> str:
        """What the next quicker folding would change: which nodes bind at `cycles`, and what it would take."""
        quicker = [target for target in self._targets() if target < cycles]
        binding = [name for name, choice in choices.items() if choice.planned.cycles == cycles]
        names = ", ".join(binding[:3]) + (f" and {len(binding) - 3} more" if len(binding) > 3 else "")
        while quicker:
            target = quicker.pop()
            try:
                better, usage = self.best(target)
            except PassRefusal:
                break
            reached = max(choice.planned.cycles for choice in better.values())
            if reached < cycles:
                before = self.budget.settled(sum((choice.usage for choice in choices.values()), NOTHING))
                after = self.budget.settled(usage)
                more = [f"{getattr(after, r) - getattr(before, r):+d} {r}" for r in ("lut", "dsp", "bram")]
                return f"{reached} cycles if {names} get more products or lanes: {', '.join(more)}"
        return f"{names} cannot be quicker"

    def _over(self, usage: Usage) -> float:
        """How far a design is from fitting: the worst resource's need over what there is."""
        settled = self.budget.settled(usage)
        return max(settled.lut / self.budget.lut, settled.bram / self.budget.device.bram)

    def _targets(self) -> list[int]:
        """Cycles per image at which some node's folding changes, in rising order."""
        found = set()
        for node in self.nodes:
            shape = self.graph.shape(node.output[0])[1:]
            found |= {math.prod(shape) // lanes for lanes in divisors(shape[-1])}
            if node.op_type in MATRIX:
                rows, columns, times = self._sizes(node)
                found |= {times * (rows // pe) * (columns // simd) for pe, simd in itertools.product(divisors(rows), divisors(columns))}
        return sorted(found)

    def _sizes(self, node: NodeProto) -> tuple[int, int, int]:
        """(what PE divides, what SIMD divides, how often a matrix unit goes through both for an image)."""
        weight, (tokens, channels) = self.graph.shape(node.input[1]), self.graph.shape(node.input[0])[1:]
        return (weight[0], weight[1], tokens) if node.op_type == "MatVec" else (channels, weight[1], weight[0])

    def _options(self, target: int) -> dict[str, list[Choice]]:
        """Every node's choices that are worth a look; PassRefusal names the node for which no folding reaches the target."""
        lanes: dict[str, int] = {}  # of each tensor, as the node above streams it
        found = {}
        for node in self.nodes:
            choices = list(self._choices(node, target, lanes))
            if not choices:
                raise PassRefusal(f"{node.name}: no folding reaches {target} cycles per image; raise target_cycles")
            found[node.name] = [choice for _, (choice,) in _front((choice.usage, (choice,)) for choice in choices)]
            lanes |= dict(zip(node.output, choices[0].planned.out_lanes, strict=True))
        return found

    def _choices(self, node: NodeProto, target: int, lanes: Mapping[str, int]) -> Iterator[Choice]:
        fixed = dict(self.fixed.get(node.name, {}))
        least = math.inf  # products
        for values in self._candidates(node, target, lanes, fixed):
            if math.prod(values.get(k, 1) for k in ("PE", "SIMD")) > max(WIDER * least, MORE):
                return
            planned = self._plan(node, values)
            if planned is None or not self._joins(node, planned, lanes):
                continue
            if planned.cycles > target and not _settles(node, fixed):
                continue
            yield Choice(values, planned, planned.usage(self.budget.device.family))
            if node.op_type not in MATRIX:
                return
            least = min(least, values["PE"] * values["SIMD"])

    def _candidates(
        self, node: NodeProto, target: int, lanes: Mapping[str, int], fixed: dict[str, int]
    ) -> Iterable[dict[str, int]]:
        """Foldings that keep `fixed`, fewest products (or lanes) first."""
        given = lanes.get(node.input[0])
        if node.op_type not in MATRIX:
            if not OPS[node.op_type].folding:
                return [{}]
            channels = self.graph.shape(node.output[0])[-1]
            return [{"PE": pe} | fixed for pe in sorted(divisors(channels), key=lambda pe: (pe != given, pe))]
        rows, columns, _ = self._sizes(node)
        given = given if given is not None else self._lanes(node.input[0], target)
        out, found = self._lanes(node.output[0], target), []
        for pe, simd in itertools.product(_of(fixed, "PE", rows), _of(fixed, "SIMD", columns)):
            gathered = simd if node.op_type == "MatVec" else pe
            values = {"PE": pe, "SIMD": simd, "in_lanes": _beside(given, gathered), "out_lanes": _beside(out, pe), "fabric": 0} | fixed
            free = self.budget.device.family == "xcup" and not values["fabric"] and pe > 1
            found += [{**values, "packed": packed} | fixed for packed in ((0, 1) if free else (0,))]
        return sorted(found, key=lambda v: (v["PE"] * v["SIMD"], v["PE"]))

    def _lanes(self, tensor: str, target: int) -> int:
        """The fewest lanes in which an image's `tensor` passes in `target` cycles; all of its channels if none suffice."""
        shape = self.graph.shape(tensor)[1:]
        return next((lanes for lanes in divisors(shape[-1]) if math.prod(shape) <= lanes * target), shape[-1])

    def _joins(self, node: NodeProto, planned: HwNode, lanes: Mapping[str, int]) -> bool:
        """Whether every stream into `node` comes in a width of which one divides the other, for a WidthConverter."""
        for tensor, wanted in zip(node.input, planned.in_lanes, strict=False):
            above = self.graph.producer(tensor)
            given = lanes.get(tensor) if above is not None and above.domain == HW_DOMAIN else None
            if given is not None and given % wanted and wanted % given:
                return False
        return True

    def _plan(self, node: NodeProto, values: Mapping[str, int]) -> HwNode | None:
        """The planned node, None where its module has no such folding."""
        key = (node.name, tuple(sorted(values.items())))
        if key not in self._plans:
            tried = NodeProto()
            tried.CopyFrom(node)
            set_folding(tried, **values)
            try:
                self._plans[key] = plan(self.graph, tried)
            except PassRefusal:
                self._plans[key] = None
        return self._plans[key]


def _settles(node: NodeProto, fixed: Mapping[str, int]) -> bool:
    """Whether the user's folding leaves no choice of products: it is taken even if it is too slow."""
    return bool(fixed) and fixed.keys() >= {"PE", "SIMD"} & OPS[node.op_type].folding.keys()


def _of(fixed: Mapping[str, int], name: str, size: int) -> list[int]:
    return [fixed[name]] if name in fixed else divisors(size)


def _beside(lanes: int, units: int) -> int:
    """`lanes` where it divides `units` or is divided by it, else their greatest common divisor, with a converter in between."""
    return math.gcd(lanes, units) if lanes % units and units % lanes else lanes


def _front(sums: Iterable[tuple[Usage, tuple[Choice, ...]]]) -> list[tuple[Usage, tuple[Choice, ...]]]:
    """Those sums that no other equals or beats in every resource; the first of equals stays."""
    kept: list[tuple[Usage, tuple[Choice, ...]]] = []
    luts: list[int] = []  # of those kept that matter, rising, with their DSPs, falling
    dsps: list[int] = []
    for usage, taken in sorted(sums, key=lambda pair: (pair[0].bram, pair[0].lut, pair[0].dsp)):
        at = bisect.bisect_right(luts, usage.lut)
        if at and dsps[at - 1] <= usage.dsp:
            continue
        kept.append((usage, taken))
        end = at
        while end < len(dsps) and dsps[end] >= usage.dsp:
            end += 1
        luts[at:end], dsps[at:end] = [usage.lut], [usage.dsp]
    return kept
