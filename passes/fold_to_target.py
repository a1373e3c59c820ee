"""Folding: how many products or elements each node handles in a cycle, chosen for a device."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Mapping

from onnx import ModelProto, NodeProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops.devices import DeviceError
from custom_ops.devices import device as find_device
from custom_ops.hw import OPS
from custom_ops.hw.cost import NOTHING, Usage
from passes.fold_reserve import reserve
from passes.fold_search import MATRIX, Budget, Choice, Search
from passes.graph import Graph, PassRefusal, get_metadata, set_metadata
from passes.hardware import hardware_nodes, plan, set_folding

log = logging.getLogger(__name__)
FOLDING = "folding_report"  # key of the model's metadata: what was chosen and why, as JSON
DEVICE = "LFE5U-85F"
ROUNDS = 5  # of folding and of counting what converters and FIFOs then take


class FoldToTarget(Transformation):
    """The folding that takes the smallest part of the device at `target` cycles per image, or at the fewest cycles that fit it.

    Links have the fewest lanes that reach the target; a matrix unit has the fewest products, or up to twice as many (or 8) where
    that spares block memories; products for which there is no DSP are made of LUTs. `folding` by node name stands above all that.
    Room is kept for the converters and FIFOs that are inserted later. Without a device the cheapest folding at `target` is taken,
    whatever it needs. Refuses a target that no folding reaches, one that the device has no room for (naming what is short, and the
    nearest that fits), a node that does not exist, a value that does not divide.
    """

    def __init__(
        self,
        target_cycles: int | None,
        folding: Mapping[str, Mapping[str, int]] | None = None,
        device: str | None = None,
        margin: float = 0.85,
    ) -> None:
        super().__init__()
        self.target, self.folding = target_cycles, dict(folding or {})
        self.device, self.margin = device, margin

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        nodes = hardware_nodes(graph)
        self._check(graph, nodes)
        try:
            budget = Budget(find_device(self.device or DEVICE), self.margin)
        except DeviceError as error:
            raise PassRefusal(str(error)) from None
        search = Search(graph, nodes, budget, self.folding)
        if self.device is None:
            if self.target is None:
                raise PassRefusal("neither a device nor target_cycles is given, so no folding can be chosen; give one of them")
            choices, usage = search.best(self.target)
            self._set(nodes, choices, 0, DEVICE)
        else:
            choices, usage = self._fitting(search)
        self._warn(choices)
        set_metadata(model.model, FOLDING, json.dumps(self._report(search, choices, usage)))
        return model, False

    def _check(self, graph: Graph, nodes: list[NodeProto]) -> None:
        """Refuses overrides of nodes or attributes that do not exist, and values that the module does not take."""
        by_name = {n.name: n for n in nodes}
        for name, values in self.folding.items():
            if name not in by_name:
                close = difflib.get_close_matches(name, by_name, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"nodes: {', '.join(by_name)}"
                raise PassRefusal(f"folding: no node {name!r}; {hint}")
            node = by_name[name]
            known = OPS[node.op_type].folding
            for key in values.keys() - known.keys():
                raise PassRefusal(f"folding: {name} is a {node.op_type}, which has no {key!r}; it has {', '.join(known) or 'none'}")
            set_folding(node, **values)
            plan(graph, node)

    def _fitting(self, search: Search) -> tuple[dict[str, Choice], Usage]:
        """The choice that fits, with converters and FIFOs; a refusal with the nearest that fits."""
        kept = NOTHING  # for what is inserted later, which depends on the choice
        for _ in range(ROUNDS):
            target = self.target if self.target is not None else search.fastest(reserve=kept)
            if target is None:
                break
            choices, usage = search.best(target, kept)
            self._set(search.nodes, choices, search.budget.to_fabric(usage), search.budget.device.name)
            inserted = reserve(search.graph, search.budget.device.family)
            if search.budget.fits(usage) and inserted == kept:
                return choices, usage
            if not search.budget.fits(usage) and kept != NOTHING:
                break
            kept = inserted
        else:
            if search.budget.fits(usage):
                return choices, usage
        raise PassRefusal(self._too_small(search, search.slowest if target is None else target, kept))

    def _too_small(self, search: Search, target: int, kept: Usage) -> str:
        lacks = search.budget.lacks(search.best(target, kept)[1])
        nearest = search.fastest(target + 1, kept)
        way = f"the nearest that fits is target_cycles: {nearest}" if nearest else "no slower folding fits; take a larger device"
        return f"{search.budget.device.name}: {target} cycles per image need {lacks}; {way}"

    @staticmethod
    def _set(nodes: list[NodeProto], choices: Mapping[str, Choice], moved: int, device: str) -> None:
        """Writes the choices to the nodes, `moved` products in LUTs: those of whole units, from the end of the graph on."""
        for node in nodes:
            set_folding(node, **choices[node.name].values)
        for node in reversed(nodes):
            values = choices[node.name].values
            if moved and node.op_type in MATRIX and not values["fabric"] and not values["packed"]:
                fabric = min(moved, values["PE"] * values["SIMD"])
                set_folding(node, fabric=fabric)
                moved -= fabric
        if moved:
            raise PassRefusal(f"{device}: {moved} more DSPs that LUTs cannot replace are needed than it has; take a larger device")

    def _warn(self, choices: Mapping[str, Choice]) -> None:
        for name, choice in choices.items():
            log.info("%s: %s, %d cycles per image", name, dict(choice.values), choice.planned.cycles)
            if self.target is not None and choice.planned.cycles > self.target:
                log.warning("%s: the folding given takes %d cycles per image, more than %d", name, choice.planned.cycles, self.target)

    def _report(self, search: Search, choices: Mapping[str, Choice], usage: Usage) -> dict[str, object]:
        """What the build's report says: the cycles, the slowest node and what would relieve it, each resource's use."""
        budget = search.budget
        cycles = max(choice.planned.cycles for choice in choices.values())
        slowest = next(name for name, choice in choices.items() if choice.planned.cycles == cycles)
        relief = search.relief(cycles, choices)
        settled = budget.settled(usage)
        used = {name: (getattr(settled, name), getattr(budget.device, name)) for name in ("lut", "dsp", "bram")}
        report: dict[str, object] = {
            "device": self.device, "target_cycles": self.target, "cycles": cycles, "bottleneck": slowest, "relief": relief,
            "fabric_products": budget.to_fabric(usage), "estimate": {name: {"used": u, "available": a} for name, (u, a) in used.items()},
        }  # fmt: skip
        shares = ", ".join(f"{u} of {a} {name} ({u / a:.0%})" for name, (u, a) in used.items())
        log.info("%d cycles per image, %s is the slowest; %s", cycles, slowest, relief)
        log.info("%s: %s; %d products in LUTs", budget.device.name, shares, budget.to_fabric(usage))
        return report


def folding_report(model: ModelProto) -> dict[str, object] | None:
    """What FoldToTarget noted in the model's metadata."""
    text = get_metadata(model, FOLDING)
    return None if text is None else json.loads(text)
