"""The gate before folding: hardware nodes only, under names that a hardware language takes."""

import re

import pytest

from passes.require_hardware import RequireHardware
from tests.passes.graphs import apply, listing, parse, refusal


def chain(*names: str) -> str:
    """Fifos in a row, so named."""
    nodes = "\n".join(f"[{name}] t{i + 1} = psaflow.hw.Fifo <depth = 2> (t{i})" for i, name in enumerate(names))
    return f"g (int8[N,4,2] t0) => (int8[N,4,2] t{len(names)}) {{ {nodes} }}"


def named(*names: str) -> list[str]:
    """The names after the pass; the text format cannot hold all of them."""
    model = parse(chain(*(f"n{i}" for i in range(len(names)))))
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    after = apply(model, RequireHardware())
    assert listing(after) == listing(model)
    return [n.name for n in after.graph.node]


def test_names_become_identifiers() -> None:
    for name in named("blocks.0/act-1", "input", "module", "0_weird", "", "ok"):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        assert name not in ("input", "module")


def test_names_say_what_they_are_and_what_computes_it() -> None:
    assert named("blocks.0.act") == ["blocks_0_act_fifo"]
    assert named("branch_fifo") == ["branch_fifo"]


def test_different_nodes_keep_different_names() -> None:
    names = named("fc.1", "fc_1", "fc-1", "fc_1_fifo")
    assert len(set(names)) == 4


def test_a_layout_behind_the_last_unit_is_allowed() -> None:
    model = parse("""
        g (int8[N,1,2] x) => (int8[N,2] y) <int64[1] axis = {1}>
        { f = psaflow.hw.Fifo (x)
          y = Squeeze (f, axis) }""")
    assert listing(apply(model, RequireHardware())) == listing(model)


REFUSALS = {
    "a layout in between": ("""
        g (int8[N,1,2] x) => (int8[N,2] y) <int64[1] axis = {1}>
        { [drop] s = Squeeze (x, axis)
          y = psaflow.hw.Fifo (s) }""", "Squeeze drop"),
    "an accumulator's affine": ("""
        g (int32[N,4,2] x) => (int8[N,4,2] y) <int32[1] m = {1}, int32[1] b = {0}, int32[1] s = {3}>
        { [act] y = psaflow.Requant (x, m, b, s) }""", "Requant act"),
    "a software table": ("""
        g (int8[N,4,2] x, int8[2,256] table) => (int8[N,4,2] y)
        { [act] y = psaflow.ChannelLUT (x, table) }""", "ChannelLUT act"),
    "a layout that is not pure": ("""
        g (int8[N,4,2] x) => (int8[N,2,4] y)
        { [swap] y = Transpose <perm = [0, 2, 1]> (x) }""", "Transpose swap"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "who"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, who: str) -> None:
    message = refusal(parse(text), RequireHardware())
    assert message.startswith(f"{who}: no hardware node computes it")
    assert "linear layers" in message
