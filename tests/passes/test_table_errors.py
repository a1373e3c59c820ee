"""Errors of compressed tables, against those counted by hand."""

import numpy as np
import pytest

from passes.compress_lut import CompressLUT
from passes.expand_table import full_table
from passes.graph import PassRefusal
from passes.table_errors import table_errors, tables_of
from tests.passes.graphs import apply, parse
from tests.passes.tables import network, tables_in


def test_rows_are_those_counted_by_hand() -> None:
    before, after = network(), apply(network(), CompressLUT(8))
    counts = np.random.default_rng(0).integers(0, 9, (4, 256))
    pixel, first, second = table_errors(before, after, {"u": counts})
    error = np.abs(full_table(tables_in(after)[0], "HALF_EVEN").astype(int) - tables_in(before)[0])
    assert (pixel.node, pixel.entries, pixel.every, pixel.worst, pixel.bits) == ("input", 256, 1, 0, 3 * 256 * 8)
    assert (first.node, first.rows, first.entries, first.every) == ("act1", 4, 33, 8)
    assert (first.bits, first.full_bits) == (4 * 33 * 8, 4 * 256 * 8)
    assert (first.worst, first.mean, first.exact) == (error.max(), error.mean(), (error == 0).mean())
    assert first.used_mean == (error * counts).sum() / counts.sum()
    assert second.used_mean is None and second.worst > 0


def test_a_model_has_no_errors_against_itself() -> None:
    for row in table_errors(network(), network()):
        assert (row.worst, row.mean, row.exact, row.bits) == (0, 0.0, 1.0, row.full_bits)


def test_other_models_cannot_be_compared() -> None:
    other = parse("g (int8[N,4] x) => (int8[N,4] o) <int8[1,3] t = {1, 2, 3}> { o = psaflow.ChannelLUT (x, t) }")
    assert list(tables_of(other)) == ["o"]
    with pytest.raises(PassRefusal, match="o: no table of that name"):
        table_errors(network(), other)
