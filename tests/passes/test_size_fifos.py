"""FIFOs on the short branch of every residual."""

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from passes.graph import Graph
from passes.hardware import hardware_nodes, plan
from passes.size_fifos import BLOCK, SLACK, SMALL, SizeFifos
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
    assert fifos(after) == [{"PE": 1, "depth": 8 + SLACK}]
    images = RNG.integers(-128, 128, (7, 4, 8)).astype(np.int8)
    assert_equal_values(before, after, x=images)
    assert_untouched(after, SizeFifos())


@pytest.mark.parametrize(("long", "elements"), [(MAT_VEC, 8), (TWO, 16), (TOKEN_MIX, 32), ("l = psaflow.hw.Fork (a)", 0)])
def test_the_fifo_holds_what_the_long_branch_keeps_back(long: str, elements: int) -> None:
    if "Fork" in long:
        long = "l = psaflow.hw.WidthConverter <in_lanes = 1, out_lanes = 1> (a)"
    assert depth(apply(parse(residual(4, 8, long)), SizeFifos())) == elements + SLACK


@pytest.mark.parametrize("pe", [1, 2, 8])
def test_depth_is_in_beats_of_the_stream(pe: int) -> None:
    assert fifos(apply(parse(residual(4, 8, TOKEN_MIX.replace("TokenMix", f"TokenMix <PE = {pe}>"), pe=pe)), SizeFifos())) == [
        {"PE": pe, "depth": (32 + SLACK) // pe}]  # fmt: skip


def test_a_depth_just_above_whole_block_memories_is_split() -> None:
    tokens = BLOCK // 8
    after = apply(
        parse(
            residual(tokens, 8, "h = psaflow.hw.MatVec (a, mw, mb, ms) l = psaflow.hw.TokenMix (h, tw, tb, ts)").replace(
                f"int8[{tokens},{tokens}] tw", f"int8[{tokens},{tokens}] tw"
            )
        ),
        SizeFifos(),
    )
    assert fifos(after) == [{"PE": 1, "depth": BLOCK}, {"PE": 1, "depth": 8 + SLACK}]
    assert 8 + SLACK <= SMALL
    graph = Graph(ModelWrapper(after))
    assert all(plan(graph, n).cycles for n in hardware_nodes(graph))


def test_a_depth_well_above_a_block_memory_is_one_fifo() -> None:
    tokens = BLOCK // 8 + 8
    after = apply(parse(residual(tokens, 8, TOKEN_MIX)), SizeFifos())
    assert fifos(after) == [{"PE": 1, "depth": tokens * 8 + SLACK}]


def test_a_branch_that_holds_a_fifo_is_left_alone() -> None:
    assert_untouched(parse(residual(4, 8, "l = psaflow.hw.Fifo <depth = 3> (a)")), SizeFifos())


def test_operands_that_no_fork_feeds_are_left_alone() -> None:
    assert_untouched(
        parse("""
        g (int8[N,4,8] p, int8[N,4,8] q) => (int8[N,4,8] y)
        { y = psaflow.hw.ResidualAdd <shift = 1> (p, q) }"""),
        SizeFifos(),
    )


def test_it_refuses_operands_from_different_forks() -> None:
    message = refusal(
        parse("""
        g (int8[N,4,8] x, int8[N,4,8] v) => (int8[N,4,8] y, int8[N,4,8] b, int8[N,4,8] d)
        { [first] a, b = psaflow.hw.Fork (x)
          [second] c, d = psaflow.hw.Fork (v)
          [sum] y = psaflow.hw.ResidualAdd <shift = 1> (a, c) }"""),
        SizeFifos(),
    )
    for word in ("sum", "first", "second", "different forks"):
        assert word in message


def test_two_residuals_in_a_row_get_one_each() -> None:
    text = residual(4, 8, f"{MAT_VEC} r = psaflow.hw.ResidualAdd <shift = 1> (l, b) c, d = psaflow.hw.Fork (r) "
                          "k = psaflow.hw.TokenMix (c, tw, tb, ts)", operands="d, k")  # fmt: skip
    after = apply(parse(text), SizeFifos())
    assert fifos(after) == [{"PE": 1, "depth": 8 + SLACK}, {"PE": 1, "depth": 32 + SLACK}]
    names = [n.name for n in after.graph.node]
    assert len(set(names)) == len(names)
