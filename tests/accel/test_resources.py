"""No module grows unseen: what yosys counts is what resources.json stores, within 5 % for logic and exactly for DSPs and block RAMs."""

import json

import pytest

from accel import tools

from .resources import CASES, STORED, Counts, count

GROWTH = 1.05  # of LUTs and flip-flops
HINT = "make resources stores the counts anew"


def grown(stored: Counts, found: Counts) -> list[str]:
    """One line for each figure of `found` that the stored one does not allow."""
    lines = []
    for case, targets in found.items():
        for target, figures in targets.items():
            for figure, number in figures.items():
                before = stored.get(case, {}).get(target, {}).get(figure)
                exact = figure in ("dsp", "bram")
                if before is None or (number != before if exact else number > before * GROWTH):
                    lines.append(f"{case} on {target}: {figure} {number}, stored {before}; {HINT}")
    return lines


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.skipif(not tools.available("yosys"), reason="yosys is not installed")
def test_no_module_takes_more_than_is_stored():
    assert grown(json.loads(STORED.read_text()), count()) == []


def test_packed_products_take_half_the_dsps_and_those_of_luts_none():
    stored = json.loads(STORED.read_text())
    dsps = {case: (stored[case]["ecp5"]["dsp"], stored[case]["xcup"]["dsp"]) for case in stored if case.startswith("mat_vec_12")}
    assert dsps == {"mat_vec_12": (12, 12), "mat_vec_12_packed": (12, 6), "mat_vec_12_fabric_7": (5, 5)}


def test_the_stored_cases_are_those_that_are_counted():
    stored = json.loads(STORED.read_text())
    assert sorted(stored) == sorted(instance.name for instance in CASES)
    assert all(figures["ff"] > 0 for targets in stored.values() for figures in targets.values())


@pytest.mark.parametrize(
    "figure, number, seen",
    [("lut4", 105, False), ("lut4", 106, True), ("lut4", 50, False), ("dsp", 3, True), ("dsp", 5, True), ("bram", 7, True)],
)
def test_growth_is_named_with_module_stored_and_found(figure, number, seen):
    stored = {"fifo": {"ecp5": {"lut4": 100, "dsp": 4, "bram": 6}}}
    found = {"fifo": {"ecp5": {**stored["fifo"]["ecp5"], figure: number}}}
    line = f"fifo on ecp5: {figure} {number}, stored {stored['fifo']['ecp5'][figure]}; {HINT}"
    assert grown(stored, found) == ([line] if seen else [])


def test_a_case_that_is_not_stored_is_named():
    assert grown({}, {"fifo": {"ecp5": {"ff": 3}}}) == [f"fifo on ecp5: ff 3, stored None; {HINT}"]
