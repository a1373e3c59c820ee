"""What gives its input unchanged goes."""

import pytest

from passes.remove_identity import RemoveIdentity
from tests.passes.graphs import apply, assert_same, assert_untouched, parse

HEAD = "g (float[N,2] x) => (float[N,2] y) <float half = {0.5}, bool no = {0}, bool yes = {1}>"


@pytest.mark.parametrize("op", ["Identity (a)", "Dropout (a)", "Dropout (a, half)", "Dropout (a, half, no)"])
def test_it_goes(op: str) -> None:
    after = apply(parse(f"{HEAD} {{ a = Relu (x) b = {op} y = Neg (b) }}"), RemoveIdentity())
    assert_same(after, f"{HEAD} {{ a = Relu (x) y = Neg (a) }}")


def test_two_readers_and_a_row_of_them() -> None:
    after = apply(parse(f"{HEAD} {{ a = Identity (x) b = Identity (a) c = Neg (b) y = Mul (b, c) }}"), RemoveIdentity())
    assert_same(after, f"{HEAD} {{ c = Neg (x) y = Mul (x, c) }}")


@pytest.mark.parametrize("nodes", [
    "a = Relu (x) y = Identity (a)",  # the graph's output keeps its name
    "a = Relu (x) b = Dropout (a, half, yes) y = Neg (b)",  # training
    "a, m = Dropout (x, half) f = Cast <to = 1> (m) y = Mul (a, f)",  # its mask is read
])  # fmt: skip
def test_it_stays(nodes: str) -> None:
    assert_untouched(parse(f"{HEAD} {{ {nodes} }}"), RemoveIdentity())
