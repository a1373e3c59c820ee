"""psaflow bench lookup: what is compared computes the same, and the environment stays as it was."""

import os

import numpy as np
import pytest

from custom_ops.channel_lut import channel_lut
from pipelines import bench_lookup
from pipelines.console import UserError
from tests.pipelines.conftest import psaflow_json


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (3, 64, 48)])
def test_every_candidate_gives_the_reference(shape):
    random = np.random.default_rng(1)
    x = random.integers(-128, 128, shape, np.int8)
    table = random.integers(-128, 128, (shape[-1], 256), np.int8)
    found = bench_lookup.candidates(table, x)
    assert {c.name for c in found} == {"kernel", "kernel_scalar", "body", *bench_lookup.COMPOSITIONS}
    for candidate in found:
        np.testing.assert_array_equal(candidate.run(x), channel_lut(x, table))


def test_a_composition_that_computes_something_else_is_not_timed(monkeypatch):
    monkeypatch.setitem(bench_lookup.COMPOSITIONS, "gather", ("wrong", "y = Identity (x)"))
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4)
    with pytest.raises(UserError, match=r"gather: 16 of 16 elements differ from the reference"):
        bench_lookup.candidates(np.full((4, 256), 99, np.int8), x)


def test_the_result_has_a_row_and_a_ratio_for_each_and_the_environment_stays(monkeypatch):
    monkeypatch.delenv("PSAFLOW_ISA", raising=False)
    result = psaflow_json("bench", "lookup", "--images", 2, "--channels", 17, "--seconds", 0.01)
    names = [row["name"] for row in result["rows"]]
    assert result["shape"] == [2, 64, 17] and names[0] == "kernel" and list(result["times_as_fast"]) == names[1:]
    assert all(row["microseconds"] > 0 for row in result["rows"])
    assert "PSAFLOW_ISA" not in os.environ
