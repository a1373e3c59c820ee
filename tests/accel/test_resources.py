"""What yosys makes of the modules at the sizes of the full network: block RAMs and multipliers, counted."""

import json

import numpy as np
import pytest

from accel import tools, verilog
from accel.instance import RTL, Folding, Instance, Rounding, channel_lut, channel_requant, fifo, mat_vec, token_mix

from .conftest import random_int8

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("yosys"), reason="yosys is not installed"),
]
RNG = np.random.default_rng(0)


def matrix(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """weight, bias, shift of ordinary sizes."""
    return random_int8(1, rows, columns), RNG.integers(-30000, 30000, rows), RNG.integers(7, 13, rows)


CASES = {
    "mat_vec": (mat_vec("dut", *matrix(96, 96), 64, Folding(3, 6), Rounding()), 4, 18),
    "token_mix": (token_mix("dut", *matrix(64, 64), 96, Folding(3, 4), Rounding()), 6 + 2, 12),
    "channel_lut": (channel_lut("dut", random_int8(2, 96, 256), 6144, 1), 12, 0),
    "64 knots": (channel_lut("dut", random_int8(2, 96, 65), 6144, 1), 3, 0),
    "64 knots, 3 lanes": (channel_lut("dut", random_int8(2, 96, 65), 6144, 3), 3, 0),
    "32 knots": (channel_lut("dut", random_int8(2, 96, 33), 6144, 1), 2, 0),
    "channel_requant": (
        channel_requant("dut", RNG.integers(-127, 128, 96), *matrix(96, 1)[1:], 6144, 1, Rounding()),
        0,
        1,
    ),
    "fifo": (fifo("dut", 6144, 1), 3, 0),
    "small fifo": (fifo("dut", 32, 1), 0, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_memories_and_products_map_to_the_expected_primitives(case, tmp_path):
    instance: Instance
    instance, brams, multipliers = CASES[case]
    for file, text in {**instance.memories, "dut.sv": verilog.wrapper(instance, case)}.items():
        (tmp_path / file).write_text(text)
    for source in instance.sources:
        (tmp_path / source).write_text((RTL / source).read_text())
    steps = [
        f"read_verilog -sv dut.sv {' '.join(instance.sources)}",
        "synth_ecp5 -top dut -run begin:map_gates",
        "tee -q -o stat.json stat -json",
    ]
    tools.run("yosys", ["-q", "-p", "; ".join(steps)], tmp_path)
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells.get("DP16KD", 0) <= brams, "yosys may also use the ninth bits"
    assert cells.get("MULT18X18D", 0) == multipliers
