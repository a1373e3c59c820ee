"""ChannelLUT: the RTL against the op's reference on every code, full tables and knots."""

from itertools import pairwise

import numpy as np
import pytest

from accel import packing, tools, verilog
from accel.instance import RTL, Instance, InstanceError, channel_lut
from accel.verilate import Stream, build
from custom_ops.channel_lut import KNOTS
from custom_ops.channel_lut import channel_lut as reference
from custom_ops.rounding import ROUNDINGS

from .conftest import STALLS, Check, latency, random_int8


def every_code(channels: int, lowest: int = -128, images: int = 2) -> np.ndarray:
    """[images, 256, channels]: each channel sees every code in an order of its own, in each image."""
    codes = np.tile(np.arange(256), (images, channels, 1)).transpose(0, 2, 1)
    return (np.random.default_rng(1).permuted(codes, axis=1) + lowest).astype(np.uint8 if lowest == 0 else np.int8)


@pytest.mark.parametrize("width", [256, 65])
@pytest.mark.parametrize(
    "channels, pe, lowest", [(6, 1, -128), (6, 3, -128), (3, 1, 0), (1, 1, 0), (12, 12, -128)]
)
def test_rtl_equals_reference_under_random_stalls(check: Check, channels, pe, lowest, width):
    table, x = random_int8(channels, channels, width), every_code(channels, lowest)
    instance = channel_lut("dut", table, x[0].size, pe, lowest, "HALF_UP")
    run = check(instance, {"s_axis": x}, {"m_axis": reference(x, table, "HALF_UP", lowest)})
    cycles = run.outputs["m_axis"].cycles
    assert cycles[-1] - cycles[0] == len(cycles) - 1, "one beat a cycle"
    assert latency(run) == (4 if width == 256 else 7)


def side_by_side(folder, units: list[Instance]):
    """One simulator of all `units`, the streams of unit i on the ports i's name prefixes."""
    ports, body = ["  input logic clk", "  input logic rst_n"], []
    for unit in units:
        for prefix, width, ways in (
            ("s_axis", unit.inputs["s_axis"], ("input", "output")),
            ("m_axis", unit.outputs["m_axis"], ("output", "input")),
        ):
            port = f"{unit.name}_{prefix}"
            ports += [f"  {ways[0]} logic [{8 * width - 1}:0] {port}_tdata", f"  {ways[0]} logic {port}_tvalid"]
            ports += [f"  {ways[1]} logic {port}_tready", f"  {ways[0]} logic {port}_tlast"]
        pins = [f".{p}_{pin}({unit.name}_{p}_{pin})" for p in ("s_axis", "m_axis") for pin in ("tdata", "tvalid", "tready", "tlast")]
        body.append(f"  {unit.name} {unit.name}_node (.clk, .rst_n, {', '.join(pins)});")
        for file, text in {**unit.memories, f"{unit.name}.sv": verilog.wrapper(unit, "A unit.")}.items():
            (folder / file).write_text(text)
    (folder / "beside.sv").write_text(
        "module beside (\n" + ",\n".join(ports) + "\n);\n" + "\n".join(body) + "\nendmodule\n"
    )
    wrappers = [folder / f"{unit.name}.sv" for unit in units]
    return build(
        [*(RTL / source for source in units[0].sources), *wrappers, folder / "beside.sv"],
        "beside",
        folder / "work",
        [Stream(f"{unit.name}_s_axis", unit.inputs["s_axis"]) for unit in units],
        [Stream(f"{unit.name}_m_axis", unit.outputs["m_axis"]) for unit in units],
        cwd=folder,
    )


def run_all(folder, cases: dict[str, tuple[Instance, np.ndarray, np.ndarray]], stalls) -> None:
    """Every case's output equals its expectation at every setting of `stalls`."""
    units = [unit for unit, _, _ in cases.values()]
    simulator = side_by_side(folder, units)
    feeds = {f"{u.name}_s_axis": packing.to_beats(x, u.inputs["s_axis"]) for u, x, _ in cases.values()}
    wanted = {f"{u.name}_m_axis": packing.to_beats(y, u.outputs["m_axis"]) for u, _, y in cases.values()}
    for seed, valid, ready in stalls:
        done = simulator.run(feeds, {prefix: len(y) for prefix, y in wanted.items()}, seed, valid, ready)
        for (case, _), (prefix, y) in zip(cases.items(), wanted.items(), strict=True):
            np.testing.assert_array_equal(done.outputs[prefix].data, y, f"{case}, seed {seed}")


needs_tools = pytest.mark.skipif(
    not tools.available("verilator", "g++"), reason="verilator or g++ is not installed"
)


@pytest.mark.tools
@needs_tools
@pytest.mark.parametrize("pe", [1, 2, 3])
def test_every_code_of_every_spacing_equals_the_reference_under_random_stalls(tmp_path, pe):
    cases = {}
    for rounding in ROUNDINGS:
        for bits, knots in KNOTS.items():
            table = random_int8(bits, 6, knots)
            table[0, ::2], table[0, 1::2] = -128, 127  # steepest
            x = every_code(6, images=1)
            unit = channel_lut(f"lut_{bits}_{rounding.lower()}", table, x.size, pe, rounding=rounding)
            cases[unit.name] = unit, x, reference(x, table, rounding)
    run_all(tmp_path, cases, STALLS)


def every_pair(knots: int) -> np.ndarray:
    """int8 [C, knots + 1]: among its rows' neighbours stands every pair of codes, from a sequence that holds each once."""
    sequence = [code for i in range(256) for code in (i, *(c for j in range(i + 1, 256) for c in (i, j)))]
    starts = np.arange(0, 256 * 256, knots)[:, None]
    rows = np.array(sequence)[(starts + np.arange(knots + 1)) % 65536] - 128
    pairs = {(a, b) for row in rows.tolist() for a, b in pairwise(row)}
    assert len(pairs) == 256 * 256
    return rows.astype(np.int8)


@pytest.mark.tools
@needs_tools
def test_every_line_between_two_codes_equals_the_reference(tmp_path):
    cases = {}
    for rounding in ROUNDINGS:
        for bits in (1, 2, 3):
            table = every_pair(256 >> bits)
            x = every_code(len(table), images=1)
            unit = channel_lut(f"lut_{bits}_{rounding.lower()}", table, x.size, 1, rounding=rounding)
            cases[unit.name] = unit, x, reference(x, table, rounding)
    run_all(tmp_path, cases, [(0, 1.0, 1.0)])


def test_bad_tables_and_foldings_are_refused():
    with pytest.raises(InstanceError, match="lut: PE=4 must divide 6 channels; try 1, 2, 3, 6"):
        channel_lut("lut", random_int8(0, 6, 256), 6, 4)
    with pytest.raises(InstanceError, match=r"lut: a table has 256 entries or 129, 65, .* knots, not 64"):
        channel_lut("lut", random_int8(0, 6, 64), 6, 1)
    with pytest.raises(InstanceError, match="lut: rounding 'UP' is neither HALF_EVEN nor HALF_UP"):
        channel_lut("lut", random_int8(0, 6, 65), 6, 1, rounding="UP")
