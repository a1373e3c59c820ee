"""Full tables -> the coarsest knots that are good enough."""

import numpy as np
import pytest

from passes.compress_lut import CompressLUT
from passes.expand_table import ExpandTable, full_table
from passes.fit_knots import SPACINGS, fit_knots, subsample_knots
from tests.passes.graphs import apply, assert_equal_values, assert_untouched, parse
from tests.passes.tables import network, pixels, tables_in


def worst(model) -> list[int]:
    return [int(np.abs(full_table(t, "HALF_EVEN").astype(int) - full).max()) for t, full in zip(tables_in(model), tables_in(network()))]


@pytest.mark.parametrize("method", ["fit", "subsample"])
@pytest.mark.parametrize("every", SPACINGS)
def test_without_a_bound_all_tables_of_codes_get_the_spacing(every: int, method: str) -> None:
    before = network()
    after = apply(before, CompressLUT(every, method=method))
    made = subsample_knots if method == "subsample" else lambda t, n: fit_knots(t, n, "HALF_EVEN")
    for table, full in zip(tables_in(after), tables_in(before)):
        assert (table == made(full, every)).all()
    assert after.graph.node[0].input[1] == "table_0"  # pixels keep theirs
    assert [n.op_type for n in after.graph.node] == [n.op_type for n in before.graph.node]
    assert_equal_values(after, apply(after, ExpandTable()), pixels=pixels(9))


def test_each_table_gets_the_coarsest_spacing_that_keeps_the_worst_error() -> None:
    widths = set()
    for bound in (0, 1, 3, 6):
        after = apply(network(), CompressLUT(16, worst=bound))
        assert max(worst(after)) <= bound
        for table, full in zip(tables_in(after), tables_in(network())):
            every = 256 // (table.shape[1] - 1) if table.shape[1] != 256 else 1
            widths.add(every)
            if every < 16:
                coarser = fit_knots(full, 2 * every, "HALF_EVEN")
                assert np.abs(full_table(coarser, "HALF_EVEN").astype(int) - full).max() > bound
    assert len(widths) > 2  # the bounds do choose


def test_a_model_that_is_asked_is_the_whole_model_and_decides_table_by_table() -> None:
    asked = []

    def accurate(model) -> bool:
        asked.append(sum(256 // t.shape[1] for t in tables_in(model)))
        return max(worst(model)) <= 6

    after = apply(network(), CompressLUT(16, accurate=accurate))
    assert max(worst(after)) <= 6 < max(worst(apply(network(), CompressLUT(16))))
    assert len(asked) >= 3
    assert [t.shape[1] for t in tables_in(apply(network(), CompressLUT(16, accurate=lambda _: False)))] == [256, 256]


def test_counts_make_errors_rare_where_codes_are_frequent() -> None:
    counts = np.ones((4, 256), np.int64)
    counts[:, 110:146] = 1000
    plain, heard = (tables_in(apply(network(), CompressLUT(16, counts=c)))[0] for c in ({}, {"u": counts}))
    full = tables_in(network())[0]
    squares = [((full_table(t, "HALF_EVEN").astype(int) - full)[:, 110:146] ** 2).sum() for t in (plain, heard)]
    assert squares[1] < squares[0]


def test_a_shared_row_stays_one_row() -> None:
    row = tables_in(network())[0][:1]
    after = apply(network({"table_1": row}), CompressLUT(8, counts={"u": np.ones((4, 256), np.int64)}))
    assert tables_in(after)[0].shape == (1, 33)


@pytest.mark.parametrize("options", ["<lowest = 0>", ""])
def test_tables_of_pixels_and_knots_and_computed_tables_are_left_alone(options: str) -> None:
    kind, table = ("uint8", "int8[1,256] t = {" + ", ".join(["1"] * 256) + "}") if options else ("int8", "int8[1,17] t = {" + ", ".join(["1"] * 17) + "}")
    assert_untouched(parse(f"g ({kind}[N,3] x) => (int8[N,3] y) <{table}> {{ y = psaflow.ChannelLUT {options} (x, t) }}"), CompressLUT(4))
    assert_untouched(parse("g (int8[N,3] x, int8[3,256] t) => (int8[N,3] y) { y = psaflow.ChannelLUT (x, t) }"), CompressLUT(4))


@pytest.mark.parametrize(("options", "says"), [({"every": 3}, "every=3 must be 2, 4, 8, 16"), ({"every": 4, "method": "guess"}, "fit or subsample"),
                                               ({"every": 4, "worst": -1}, "worst=-1 must be at least 0")])  # fmt: skip
def test_bad_options_are_refused(options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CompressLUT(**options)
