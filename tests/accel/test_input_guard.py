"""The guard of the input: images of every length against a model of what should come of them."""

from pathlib import Path

import numpy as np
import pytest

from accel import tools
from accel.instance import RTL, sources_of
from accel.verilate import Simulator, Stream, build

from .conftest import STALLS

BEATS = 5
TOP = f"""
module guarded (
  input logic clk, input logic rst_n,
  input logic [7:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready, input logic s_axis_tlast,
  output logic [7:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready, output logic m_axis_tlast
);
  wire image_in, short_image, long_image;
  input_guard #(.WIDTH(8), .BEATS({BEATS})) guard (.ignore_tlast(1'b0), .*);
endmodule
"""
pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("verilator", "g++"), reason="verilator or g++ is not installed"),
]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    folder: Path = tmp_path_factory.mktemp("guard")
    (folder / "guarded.sv").write_text(TOP)
    files = [*(RTL / source for source in sources_of("input_guard")), folder / "guarded.sv"]
    return build(files, "guarded", folder, [Stream("s_axis", 1)], [Stream("m_axis", 1)])


@pytest.mark.parametrize("seed, valid, ready", STALLS)
def test_images_of_any_length_come_out_whole(guard: Simulator, seed: int, valid: float, ready: float):
    rng = np.random.default_rng(seed)
    images = [rng.integers(1, 256, rng.choice([1, 2, 4, 5, 5, 5, 6, 9, 13])).astype(np.uint8) for _ in range(500)]
    whole = np.concatenate([np.pad(image, (0, BEATS))[:BEATS] for image in images])
    feed = np.concatenate(images)
    ends = np.zeros(len(feed), bool)
    ends[np.cumsum([len(image) for image in images]) - 1] = True
    run = guard.run({"s_axis": feed[:, None]}, {"m_axis": len(whole)}, seed, valid, ready, last={"s_axis": ends})
    out = run.outputs["m_axis"]
    np.testing.assert_array_equal(out.data[:, 0], whole)
    np.testing.assert_array_equal(out.last, np.arange(len(whole)) % BEATS == BEATS - 1)


def test_a_good_image_passes_a_cycle_later_without_a_bubble(guard: Simulator):
    feed = np.arange(40, dtype=np.uint8)[:, None]
    run = guard.run({"s_axis": feed}, {"m_axis": 40}, last={"s_axis": np.arange(40) % BEATS == BEATS - 1})
    np.testing.assert_array_equal(run.outputs["m_axis"].cycles, np.arange(40) + run.first_input_cycle["s_axis"] + 1)
