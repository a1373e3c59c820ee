"""FIFOs where branches meet again: as deep as the schedule needs, whatever way the branches came."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph, set_attribute
from passes.hardware import hardware_nodes, plan
from passes.schedule import network, periodic
from passes.size_fifos import BLOCK, SizeFifos, held
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, attributes, parse, refusal

RNG = np.random.default_rng(0)


def array(name: str, kind: str, *shape: int, high: int = 5) -> str:
    values = RNG.integers(0, high, shape)
    return f"{kind}[{','.join(map(str, shape))}] {name} = {{{', '.join(map(str, values.ravel()))}}}"


def residual(tokens: int, channels: int, long: str, *, operands: str = "l, b", pe: int = 1) -> str:
    constants = ", ".join([
        array("mw", "int8", channels, channels), array("mb", "int32", channels), array("ms", "int32", channels),
        array("tw", "int8", tokens, tokens), array("tb", "int32", tokens), array("ts", "int32", tokens),
    ])  # fmt: skip
    return f"""
        g (int8[N,{tokens},{channels}] x) => (int8[N,{tokens},{channels}] y) <{constants}>
        {{ a, b = psaflow.hw.Fork <PE = {pe}> (x)
           {long}
           y = psaflow.hw.ResidualAdd <shift = 1, PE = {pe}> ({operands}) }}"""


MAT_VEC = "l = psaflow.hw.MatVec (a, mw, mb, ms)"
TOKEN_MIX = "l = psaflow.hw.TokenMix (a, tw, tb, ts)"
TWO = "h = psaflow.hw.MatVec (a, mw, mb, ms) l = psaflow.hw.MatVec (h, mw, mb, ms)"


def fifos(model) -> list[dict]:
    return [attributes(n) for n in model.graph.node if n.op_type == "Fifo"]


def depth(model) -> int:
    """Elements that all FIFOs hold together."""
    return sum(f["depth"] * f["PE"] for f in fifos(model))



@pytest.mark.parametrize(("operands", "place"), [("l, b", 1), ("b, l", 0)])
def test_the_short_branch_gets_the_fifo_whichever_operand_it_is(operands: str, place: int) -> None:
    before = parse(residual(4, 8, MAT_VEC, operands=operands))
    after = apply(before, SizeFifos())
    unit = next(n for n in after.graph.node if n.op_type == "ResidualAdd")
    fifo = next(n for n in after.graph.node if n.op_type == "Fifo")
    assert unit.input[place] == fifo.output[0]
    assert fifo.input[0] == "b"
    images = RNG.integers(-128, 128, (7, 4, 8)).astype(np.int8)
    assert_equal_values(before, after, x=images)
    assert_untouched(after, SizeFifos())


@pytest.mark.parametrize(("tables", "beats"), [(2, 8), (3, 12), (5, 20)])
def test_at_a_beat_a_cycle_the_depth_is_the_cycles_of_the_long_branch(tables: int, beats: int) -> None:
    lut = array("t", "int8", 8, 256)
    chain = "".join(f"l{n + 1} = psaflow.hw.ChannelLUT (l{n}, t) " for n in range(tables))
    text = residual(4, 8, "l0 = Identity (a) " + chain, operands=f"l{tables}, b").replace("<int8[8,8] mw", f"<{lut}, int8[8,8] mw")
    assert fifos(apply(parse(text), SizeFifos())) == [{"PE": 1, "depth": beats}]


FULL_MAT_VEC = "l = psaflow.hw.MatVec <SIMD = 8> (a, mw, mb, ms)"
FULL_TOKEN_MIX = "l = psaflow.hw.TokenMix <SIMD = 16> (a, tw, tb, ts)"


@pytest.mark.parametrize(
    ("long", "operands", "count"),
    [
        (FULL_MAT_VEC, "l, b", 1),
        (FULL_TOKEN_MIX, "l, b", 1),
        (MAT_VEC, "l, b", 1),
        (f"{FULL_MAT_VEC} r = psaflow.hw.ResidualAdd <shift = 1> (l, b) c, d = psaflow.hw.Fork (r) "
         "k = psaflow.hw.TokenMix <SIMD = 16> (c, tw, tb, ts)", "d, k", 2),
        (f"{FULL_MAT_VEC} c, d = psaflow.hw.Fork (b) r = psaflow.hw.ResidualAdd <shift = 1> (l, c) "
         "k = psaflow.hw.TokenMix <SIMD = 16> (r, tw, tb, ts)", "d, k", 2),
        ("c, d = psaflow.hw.Fork (a) h = psaflow.hw.TokenMix <SIMD = 16> (c, tw, tb, ts) k = psaflow.hw.MatVec <SIMD = 8> (d, mw, mb, ms) "
         "r = psaflow.hw.ResidualAdd <shift = 1> (h, k)", "r, b", 2),
    ],
)  # fmt: skip
def test_every_depth_suffices_and_one_less_does_not(long: str, operands: str, count: int) -> None:
    """Residuals alone, in a row, around each other, and of two branches that both compute."""
    after = apply(parse(residual(16, 8, long, operands=operands)), SizeFifos())
    assert len(fifos(after)) == count
    graph = Graph(ModelWrapper(after))
    times = periodic(network(graph))
    assert times is not None
    logits = times[network(graph).sink]
    for node in hardware_nodes(graph):
        if node.op_type == "Fifo":
            depth = plan(graph, node).memories[0].depth
            set_attribute(node, "depth", depth - 1)
            assert depth == 1 or periodic(network(graph), times, logits) is None
            set_attribute(node, "depth", depth)
    names = [n.name for n in after.graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_depth_is_in_beats_of_the_stream(lanes: int) -> None:
    mixer = f"l = psaflow.hw.TokenMix <SIMD = 16, PE = {lanes}, in_lanes = {lanes}, out_lanes = {lanes}> (a, tw, tb, ts)"
    (fifo,) = fifos(apply(parse(residual(16, 8, mixer, pe=lanes)), SizeFifos()))
    assert fifo["PE"] == lanes
    assert 16 * 8 - 17 * lanes <= fifo["depth"] * lanes + 8 <= 16 * 8 + 17 * lanes


def test_a_depth_just_above_whole_block_memories_is_split() -> None:
    tokens = BLOCK // 8
    mixer = f"l = psaflow.hw.TokenMix <SIMD = {tokens}> (a, tw, tb, ts)"
    matrices = "".join(f"m{n + 1} = psaflow.hw.MatVec <SIMD = 8> (m{n}, mw, mb, ms) " for n in range(3))
    after = apply(parse(residual(tokens, 8, f"{mixer} m0 = Identity (l) {matrices}", operands="m3, b")), SizeFifos())
    assert [f["depth"] // BLOCK for f in fifos(after)] == [1, 0]
    graph = Graph(ModelWrapper(after))
    assert next(n for n in hardware_nodes(graph) if n.op_type == "Fifo").input[0] == "b"
    assert periodic(network(graph)) is not None


def test_a_branch_that_holds_a_fifo_is_left_alone() -> None:
    assert_untouched(parse(residual(4, 8, "l = psaflow.hw.Fifo <depth = 3> (a)")), SizeFifos())


def test_branches_of_the_same_length_need_no_fifo() -> None:
    converters = "l = psaflow.hw.WidthConverter (a) r = psaflow.hw.WidthConverter (b)"
    assert_untouched(parse(residual(4, 8, converters, operands="l, r")), SizeFifos())


def test_it_refuses_streams_from_two_sources() -> None:
    message = refusal(
        parse("""
        g (int8[N,4,8] p, int8[N,4,8] q) => (int8[N,4,8] y)
        { y = psaflow.hw.ResidualAdd <shift = 1> (p, q) }"""),
        SizeFifos(),
    )
    assert "read 2 streams and give 1 outputs; one of each" in message


def test_what_is_held_counts_the_beats_between_two_places() -> None:
    beats = np.arange(10)
    assert held(beats, beats, 10) == 1
    assert held(beats, beats + 4, 10) == 5
    assert held(beats, beats + 14, 10) == 15
    assert held(2 * beats, 2 * beats + 4, 20) == 3
