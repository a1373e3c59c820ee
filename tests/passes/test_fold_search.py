"""The search behind FoldToTarget: sums that nothing beats, budgets with a margin."""

import numpy as np

from custom_ops.devices import Device
from custom_ops.hw.cost import Usage, fabric_lut
from passes.fold_search import Budget, _front

DEVICE = Device(name="d", family="ecp5", lut=1000, dsp=4, bram=2, source="made up")


def test_the_front_keeps_exactly_the_sums_that_no_other_equals_or_beats() -> None:
    sums = [Usage(*map(int, row)) for row in np.random.default_rng(0).integers(0, 12, (300, 3))]
    kept = [usage for usage, _ in _front((usage, ()) for usage in sums)]

    def beats(a: Usage, b: Usage) -> bool:
        return a != b and a.lut <= b.lut and a.dsp <= b.dsp and a.bram <= b.bram

    assert set(kept) == {usage for usage in sums if not any(beats(other, usage) for other in sums)}
    assert len(kept) == len(set(kept))


def test_products_beyond_the_dsps_cost_luts_and_the_margin_bounds_them() -> None:
    budget = Budget(DEVICE, 0.5)
    assert budget.settled(Usage(10, 6, 1)) == Usage(10 + 2 * fabric_lut("ecp5"), 4, 1)
    assert budget.fits(Usage(500, 4, 2)) and not budget.fits(Usage(501, 4, 2)) and not budget.fits(Usage(500, 5, 2))
    assert budget.lacks(Usage(510, 4, 3)) == "510 LUT, 10 more than 50% of 1000 and 3 block RAMs of 18 kbit, 1 more than 2"
