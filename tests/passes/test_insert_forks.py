"""Where a stream has several readers, Forks copy it."""

from collections import Counter

import numpy as np
import pytest

from passes.insert_forks import InsertForks
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

ADD = "psaflow.hw.ResidualAdd <a_shift = 0, b_shift = 0, shift = 1>"
X = np.random.default_rng(0).integers(-128, 128, (20, 4, 2)).astype(np.int8)


def readers(model) -> Counter:
    return Counter(i for n in model.graph.node for i in n.input) + Counter(o.name for o in model.graph.output)


def test_two_readers_get_a_copy_each() -> None:
    before = parse(f"""
        g (int8[N,4,2] x) => (int8[N,4,2] y)
        {{ s = psaflow.hw.Fifo (x)
           l = psaflow.hw.Fifo (s)
           y = {ADD} (s, l) }}""")
    after = apply(before, InsertForks())
    assert_same(
        after,
        f"""
        g (int8[N,4,2] x) => (int8[N,4,2] y)
        {{ s = psaflow.hw.Fifo (x)
           a, b = psaflow.hw.Fork (s)
           l = psaflow.hw.Fifo (a)
           y = {ADD} (b, l) }}""",
    )
    assert_equal_values(before, after, x=X)


@pytest.mark.parametrize("count", [3, 4])
def test_more_readers_get_a_row_of_forks(count: int) -> None:
    branches = "\n".join(f"l{i} = psaflow.hw.Fifo <depth = {i + 2}> (s)" for i in range(count))
    outputs = ", ".join(f"int8[N,4,2] l{i}" for i in range(count))
    before = parse(f"g (int8[N,4,2] x) => ({outputs}) {{ s = psaflow.hw.Fifo (x) {branches} }}")
    after = apply(before, InsertForks())
    assert [n.op_type for n in after.graph.node].count("Fork") == count - 1
    assert set(readers(after).values()) == {1}
    assert_equal_values(before, after, x=X)


def test_both_operands_of_one_unit_are_two_readers() -> None:
    before = parse(f"g (int8[N,4,2] x) => (int8[N,4,2] y) {{ s = psaflow.hw.Fifo (x) y = {ADD} (s, s) }}")
    after = apply(before, InsertForks())
    assert [n.op_type for n in after.graph.node].count("Fork") == 1
    assert set(readers(after).values()) == {1}
    assert_equal_values(before, after, x=X)


def test_an_image_with_two_readers_is_forked() -> None:
    before = parse(f"g (int8[N,4,2] x) => (int8[N,4,2] y) {{ l = psaflow.hw.Fifo (x) y = {ADD} (x, l) }}")
    after = apply(before, InsertForks())
    assert readers(after)["x"] == 1
    assert_equal_values(before, after, x=X)


def test_one_reader_needs_no_fork() -> None:
    assert_untouched(parse("g (int8[N,4,2] x) => (int8[N,4,2] y) { s = psaflow.hw.Fifo (x) y = psaflow.hw.Fifo (s) }"), InsertForks())


def test_a_second_run_adds_nothing() -> None:
    model = apply(parse(f"g (int8[N,4,2] x) => (int8[N,4,2] y) {{ s = psaflow.hw.Fifo (x) l = psaflow.hw.Fifo (s) y = {ADD} (s, l) }}"),
                  InsertForks())  # fmt: skip
    assert_untouched(model, InsertForks())
