"""Folding: the fewest products per cycle that reach the target, and overrides by node name."""

import itertools

import numpy as np
import pytest
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from passes.fold_to_target import FoldToTarget
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


def products(options: dict) -> int:
    return options.get("PE", 1) * options.get("SIMD", 1)


@pytest.mark.parametrize("target", [600, 576, 575, 192, 100, 72, 48, 24, 12, 6])
def test_every_matrix_unit_reaches_the_target_with_the_fewest_products(target: int) -> None:
    folded = apply(parse(TEXT), FoldToTarget(target))
    chosen = folding(folded)
    assert max(cycles(folded).values()) <= target
    graph = Graph(ModelWrapper(folded))
    for node in hardware_nodes(graph)[:2]:
        reaching = []
        for pe, simd in itertools.product(range(1, 13), range(1, 9)):
            set_folding(node, PE=pe, SIMD=simd)
            try:
                figures = plan(graph, node)
            except PassRefusal:
                continue
            if figures.cycles <= target:
                reaching.append((pe * simd, pe, simd))
        assert chosen[node.name] == dict(zip(("PE", "SIMD"), min(reaching)[1:], strict=True)), node.name


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
        assert {k: v for k, v in attributes(new).items() if k not in ("PE", "SIMD", "in_lanes", "out_lanes")} == attributes(old)


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
