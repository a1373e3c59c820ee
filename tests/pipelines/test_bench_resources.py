"""The resource model against yosys: DSPs and block RAMs exactly, LUTs closely."""

import pytest

from accel import tools
from pipelines.bench_resources import FIGURES, compare, grid

pytestmark = [pytest.mark.tools, pytest.mark.skipif(not tools.available("yosys"), reason="Yosys is not installed")]
CASES = ("mat_vec_embed", "fifo_141", "residual_add_1")


@pytest.mark.parametrize("family", ["ecp5", "xcup"])
def test_the_model_counts_dsps_and_block_rams_as_yosys_does_and_luts_within_a_fifth(family: str) -> None:
    cases = grid()
    result = compare({name: cases[name] for name in CASES}, family)
    for row in result["rows"]:
        assert [row["model"][f] for f in FIGURES[1:]] == [row["yosys"][f] for f in FIGURES[1:]], row["name"]
        assert row["yosys"]["lut"] > 0
    assert abs(result["total_lut_error_percent"]) < 20
    assert result["other_errors"] == 0
