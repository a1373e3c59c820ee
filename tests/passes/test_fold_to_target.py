"""Folding: the fewest products per cycle that reach the target, and overrides by node name."""

import itertools
import re

import numpy as np
import pytest
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.devices import Device, device
from custom_ops.hw.cost import Usage, fabric_lut
from passes import fold_to_target
from passes.fold_to_target import FoldToTarget, folding_report
from passes.graph import Graph, PassRefusal
from passes.hardware import hardware_nodes, plan, set_folding
from tests.passes.graphs import apply, attributes, parse, refusal

RNG = np.random.default_rng(0)


def array(name: str, kind: str, *shape: int, low: int = 0, high: int = 5) -> str:
    values = RNG.integers(low, high, shape)
    return f"{kind}[{','.join(map(str, shape))}] {name} = {{{', '.join(map(str, values.ravel()))}}}"


# x int8 [N, 4, 8] -> tokens 4 to 6 -> channels 8 to 12 -> table -> residual -> mean
CONSTANTS = ", ".join([
    array("mix_w", "int8", 6, 4), array("mix_b", "int32", 6), array("mix_s", "int32", 6),
    array("fc_w", "int8", 12, 8), array("fc_b", "int32", 12), array("fc_s", "int32", 12), array("table", "int8", 12, 256),
    array("am", "int32", 12), array("ab", "int32", 12), array("as", "int32", 12),
])  # fmt: skip
TEXT = f"""
    g (int8[N,4,8] x) => (int8[N,1,12] y) <{CONSTANTS}>
    {{ [mix] m = psaflow.hw.TokenMix (x, mix_w, mix_b, mix_s)
       [fc] f = psaflow.hw.MatVec (m, fc_w, fc_b, fc_s)
       [fork] a, b = psaflow.hw.Fork (f)
       [act] c = psaflow.hw.ChannelLUT (a, table)
       [affine] d = psaflow.hw.ChannelRequant (c, am, ab, as)
       [fifo] e = psaflow.hw.Fifo <depth = 40> (b)
       [sum] r = psaflow.hw.ResidualAdd <shift = 1> (d, e)
       [mean] y = psaflow.hw.TokenMean <shift = 3> (r) }}"""
IMAGE = """
    g (uint8[N,8,8,3] x) => (uint8[N,4,48] y)
    { [split] y = psaflow.hw.Patches <patch = 4> (x) }"""


def cycles(model: ModelProto) -> dict[str, int]:
    graph = Graph(ModelWrapper(model))
    return {n.name: plan(graph, n).cycles for n in hardware_nodes(graph)}


def folding(model: ModelProto) -> dict[str, dict[str, object]]:
    return {n.name: {k: v for k, v in attributes(n).items() if k in ("PE", "SIMD")} for n in model.graph.node}


def share(usage: Usage, device: Device) -> float:
    """The part of a device that a design takes, products beyond its DSPs made of LUTs."""
    moved = max(0, usage.dsp - device.dsp)
    return (usage.lut + moved * fabric_lut(device.family)) / device.lut + (usage.dsp - moved) / device.dsp + usage.bram / device.bram


def usage_of(model: ModelProto, family: str = "ecp5") -> Usage:
    graph = Graph(ModelWrapper(model))
    return sum((plan(graph, n).usage(family) for n in hardware_nodes(graph)), Usage(0, 0, 0))


def brute_force(model: ModelProto, target: int) -> list[Usage]:
    """What the design costs with every pair of products for its two matrix units that reaches the target, all else as chosen."""
    graph = Graph(ModelWrapper(model, make_deepcopy=True))
    nodes = hardware_nodes(graph)
    rest = [plan(graph, n).usage("ecp5") for n in nodes if n.op_type not in ("MatVec", "TokenMix")]
    choices = []
    for node in [n for n in nodes if n.op_type in ("MatVec", "TokenMix")]:
        found = []
        for pe, simd in itertools.product(range(1, 13), range(1, 9)):
            set_folding(node, PE=pe, SIMD=simd, fabric=0)
            try:
                planned = plan(graph, node)
            except PassRefusal:
                continue
            if planned.cycles <= target:
                found.append(planned.usage("ecp5"))
        choices.append(found)
    return [sum((*rest, a, b), Usage(0, 0, 0)) for a, b in itertools.product(*choices)]


def small(monkeypatch: pytest.MonkeyPatch, lut: int, dsp: int, bram: int = 4) -> Device:
    """A device of these sizes, under the name `small`."""
    device = Device(name="small", family="ecp5", lut=lut, dsp=dsp, bram=bram, source="made up")
    monkeypatch.setattr(fold_to_target, "find_device", lambda name: device)
    return device


@pytest.mark.parametrize("target", [600, 576, 575, 192, 100, 72, 48, 24, 12, 6])
def test_the_target_is_reached_with_the_smallest_share_of_the_device_of_all_foldings(target: int) -> None:
    folded = apply(parse(TEXT), FoldToTarget(target))
    assert max(cycles(folded).values()) <= target
    best = min(share(usage, device("LFE5U-85F")) for usage in brute_force(folded, target))
    assert share(usage_of(folded), device("LFE5U-85F")) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("dsp", [3, 8, 40])
def test_where_dsps_run_out_it_is_the_best_of_all_foldings_with_the_rest_made_of_luts(dsp: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tight = small(monkeypatch, 20000, dsp)
    folded = apply(parse(TEXT), FoldToTarget(24, device="small"))
    chosen = usage_of(folded)
    assert chosen.dsp <= dsp
    report = folding_report(folded)
    fabric = sum(attributes(n).get("fabric", 0) for n in folded.graph.node)
    assert report["fabric_products"] == fabric
    assert (fabric > 0) == (dsp < 40)
    before_split = Usage(chosen.lut - fabric * fabric_lut("ecp5"), chosen.dsp + fabric, chosen.bram)
    assert share(before_split, tight) == pytest.approx(min(share(usage, tight) for usage in brute_force(folded, 24)), abs=2e-4)


def test_dsps_that_nothing_can_replace_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 20000, 1)
    assert "small: " in (message := refusal(parse(TEXT), FoldToTarget(24, device="small")))
    assert "DSPs that LUTs cannot replace" in message


def test_without_a_target_it_is_as_fast_as_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tight = small(monkeypatch, 5000, 12)
    folded = apply(parse(TEXT), FoldToTarget(None, device="small"))
    reached = max(cycles(folded).values())
    assert usage_of(folded).lut <= 0.85 * tight.lut
    assert folding_report(folded)["cycles"] == reached
    assert "more than 85%" in refusal(parse(TEXT), FoldToTarget(reached - 1, device="small"))
    roomy = small(monkeypatch, 50000, 12)
    assert max(cycles(apply(parse(TEXT), FoldToTarget(None, device="small"))).values()) < reached
    assert roomy.lut > tight.lut


def test_a_narrower_margin_leaves_more_luts_free_and_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 6000, 12)
    quick, slow = (apply(parse(TEXT), FoldToTarget(None, device="small", margin=margin)) for margin in (0.95, 0.5))
    assert max(cycles(quick).values()) < max(cycles(slow).values())
    assert usage_of(slow).lut <= 3000 < usage_of(quick).lut <= 5700


def test_a_network_without_room_is_refused_with_what_is_short_and_the_nearest_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 4000, 12, 40)
    message = refusal(parse(TEXT), FoldToTarget(6, device="small"))
    found = re.fullmatch(r"small: 6 cycles per image need (\d+) LUT, (\d+) more than 85% of 4000; the nearest that fits is target_cycles: (\d+)",
                         message)  # fmt: skip
    assert found is not None, message
    needed, over, nearest = map(int, found.groups())
    assert needed - over == 3400
    assert max(cycles(apply(parse(TEXT), FoldToTarget(nearest, device="small"))).values()) <= nearest
    small(monkeypatch, 400, 12)
    assert "no slower folding fits; take a larger device" in refusal(parse(TEXT), FoldToTarget(600, device="small"))


def test_the_report_names_the_slowest_node_and_what_would_relieve_it() -> None:
    report = folding_report(apply(parse(TEXT), FoldToTarget(576, device="LFE5U-25F")))
    assert (report["cycles"], report["bottleneck"]) == (576, "fc")
    assert re.match(r"\d+ cycles if fc get more products or lanes: ", report["relief"])
    assert report["estimate"]["dsp"] == {"used": 3, "available": 28}


def test_an_unknown_device_is_refused_with_near_names() -> None:
    assert "device 'LFE5U85F': unknown; did you mean LFE5U-85F" in refusal(parse(TEXT), FoldToTarget(600, device="LFE5U85F"))


@pytest.mark.parametrize(("target", "lanes"), [(600, {1}), (72, {1}), (36, {1, 2}), (24, {2, 3}), (18, {2, 4})])
def test_streams_are_as_wide_as_the_target_asks_and_keep_their_width(target: int, lanes: set[int]) -> None:
    folded = apply(parse(TEXT), FoldToTarget(target))
    graph = Graph(ModelWrapper(folded))
    nodes = hardware_nodes(graph)
    given = {t: lanes for n in nodes for t, lanes in zip(n.output, plan(graph, n).out_lanes, strict=True)}
    for node in nodes:
        planned = plan(graph, node)
        assert {*planned.in_lanes, *planned.out_lanes} <= lanes, node.name
        assert all(given.get(t, wanted) == wanted for t, wanted in zip(node.input, planned.in_lanes, strict=False)), node.name


def test_folding_changes_nothing_but_the_folding() -> None:
    before, after = parse(TEXT), apply(parse(TEXT), FoldToTarget(48))
    assert [(n.name, n.op_type, list(n.input), list(n.output)) for n in after.graph.node] == [
        (n.name, n.op_type, list(n.input), list(n.output)) for n in before.graph.node]  # fmt: skip
    for old, new in zip(before.graph.node, after.graph.node, strict=True):
        assert {k: v for k, v in attributes(new).items() if k not in ("PE", "SIMD", "in_lanes", "out_lanes", "fabric", "packed")} == attributes(old)


def test_a_folding_that_the_module_lacks_is_passed_over() -> None:
    folded = apply(parse(IMAGE), FoldToTarget(48))
    assert folding(folded) == {"split": {"PE": 4}}  # lanes divide the 12 bytes of a patch's row


def test_an_override_is_taken_and_the_others_follow_the_target() -> None:
    folded = apply(parse(TEXT), FoldToTarget(192, {"fc": {"PE": 4, "SIMD": 8}, "act": {"PE": 3}}))
    chosen = folding(folded)
    assert chosen["fc"] == {"PE": 4, "SIMD": 8}
    assert chosen["act"] == {"PE": 3}
    assert chosen["mix"] == folding(apply(parse(TEXT), FoldToTarget(192)))["mix"]


def test_an_override_of_one_attribute_leaves_the_other_at_one() -> None:
    folded = apply(parse(TEXT), FoldToTarget(600, {"fc": {"SIMD": 2}}))
    assert cycles(folded)["fc"] == 6 * 12 * 4


def test_it_refuses_a_target_out_of_reach() -> None:
    message = refusal(parse(IMAGE), FoldToTarget(10))
    for word in ("split", "10 cycles", "raise target_cycles"):
        assert word in message


OVERRIDES = {
    "does not divide": ({"fc": {"PE": 5}}, ("fc", "PE=5", "12 rows", "1, 2, 3, 4, 6, 12")),
    "columns": ({"fc": {"PE": 1, "SIMD": 3}}, ("fc", "SIMD=3", "8 columns", "1, 2, 4, 8")),
    "zero": ({"act": {"PE": 0}}, ("act", "PE=0", "12 channels")),
    "unknown node": ({"afine": {"PE": 1}}, ("no node 'afine'", "did you mean 'affine'?")),
    "unlike any node": ({"zzzzzz": {"PE": 1}}, ("no node 'zzzzzz'", "nodes:", "mix", "mean")),
    "unknown attribute": ({"fc": {"simd": 2}}, ("fc", "simd", "SIMD")),
    "not a folding of it": ({"act": {"SIMD": 2}}, ("act", "SIMD", "PE")),
    "not a folding at all": ({"mean": {"shift": 1}}, ("mean", "shift", "PE")),
    "depth": ({"fifo": {"depth": 3}}, ("fifo", "depth", "PE")),
}


@pytest.mark.parametrize(("override", "words"), OVERRIDES.values(), ids=OVERRIDES)
def test_it_refuses_an_override(override: dict, words: tuple[str, ...]) -> None:
    message = refusal(parse(TEXT), FoldToTarget(600, override))
    for word in words:
        assert word in message


def test_a_folding_given_in_part_is_completed_to_reach_the_target() -> None:
    chosen = folding(apply(parse(TEXT), FoldToTarget(48, {"fc": {"PE": 2}})))["fc"]
    assert chosen["PE"] == 2
    assert cycles(apply(parse(TEXT), FoldToTarget(48, {"fc": {"PE": 2}})))["fc"] <= 48
    with pytest.raises(PassRefusal, match="PE=5 must divide"):
        apply(parse(TEXT), FoldToTarget(48, {"fc": {"PE": 5}}))
