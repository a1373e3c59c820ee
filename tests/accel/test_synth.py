"""ECP5: the mapped netlist computes what the RTL does; a bitstream comes with true figures or not at all."""

import json
import re

import numpy as np
import pytest

from accel import tools
from accel.emit import emit
from accel.synth.ecp5 import SynthesisError, bitstream, check_bitstream
from accel.synth.netlist import cell_arguments, netlist, synthesise
from accel.verilate import Stream, build

from .test_emit import IMAGES, network

needs_yosys = pytest.mark.skipif(not tools.available("yosys"), reason="Yosys is not installed")
needs_verilator = pytest.mark.skipif(
    not tools.available("verilator", "g++"), reason="verilator is not installed"
)
needs_nextpnr = pytest.mark.skipif(
    not tools.available("yosys", "nextpnr-ecp5", "ecppack", "ecpunpack"),
    reason="nextpnr-ecp5 is not installed",
)

# Block RAM in every width, initialised and written, and multipliers; a beat carries read address [13:0],
# write address [29:16], data [67:32], a second factor [85:68] and write enable [86].
WIDTHS = (1, 2, 4, 9, 18, 36)
CELLS = """
module cells (
  input logic clk, input logic rst_n,
  input logic [95:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input logic s_axis_tlast,
  output logic [143:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast);
  wire move = !m_axis_tvalid || m_axis_tready;
  wire [35:0] data = s_axis_tdata[67:32];
  wire [17:0] factor = s_axis_tdata[85:68];
  wire write = move && s_axis_tvalid && s_axis_tdata[86];
  logic [69:0] read_q;
  logic signed [35:0] signed_q;
  logic [35:0] unsigned_q;
@MEMORIES@
  assign s_axis_tready = rst_n && move;
  assign m_axis_tdata = {2'b10, unsigned_q, signed_q, read_q};
  always_ff @(posedge clk) begin
    if (move) begin
      m_axis_tvalid <= s_axis_tvalid;
      m_axis_tlast <= s_axis_tlast;
      signed_q <= $signed(data[17:0]) * $signed(factor);
      unsigned_q <= data[17:0] * factor;
    end
    if (!rst_n) m_axis_tvalid <= 1'b0;
  end
endmodule
"""
FIFO = """
module fifo (
  input logic clk, input logic rst_n,
  input logic [143:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input logic s_axis_tlast,
  output logic [143:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast);
  (* ram_style = "distributed" *) logic [144:0] mem [16];
  logic [4:0] write_q, read_q;
  wire [4:0] count = write_q - read_q;
  assign s_axis_tready = rst_n && !count[4];
  assign m_axis_tvalid = count != 0;
  assign {m_axis_tlast, m_axis_tdata} = mem[read_q[3:0]];
  always_ff @(posedge clk)
    if (!rst_n) begin
      write_q <= '0;
      read_q <= '0;
    end else begin
      if (s_axis_tvalid && s_axis_tready) begin
        mem[write_q[3:0]] <= {s_axis_tlast, s_axis_tdata};
        write_q <= write_q + 1'b1;
      end
      if (m_axis_tvalid && m_axis_tready) read_q <= read_q + 1'b1;
    end
endmodule
"""
TOP = """
module psaflow_top (
  input logic clk, input logic rst_n,
  input logic [95:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input logic s_axis_tlast,
  output logic [143:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast);
  wire [143:0] link_tdata;
  wire link_tvalid, link_tready, link_tlast;
  cells cells (.clk, .rst_n, .s_axis_tdata, .s_axis_tvalid, .s_axis_tready, .s_axis_tlast,
    .m_axis_tdata(link_tdata), .m_axis_tvalid(link_tvalid), .m_axis_tready(link_tready),
    .m_axis_tlast(link_tlast));
  fifo fifo (.clk, .rst_n, .s_axis_tdata(link_tdata), .s_axis_tvalid(link_tvalid),
    .s_axis_tready(link_tready), .s_axis_tlast(link_tlast),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast);
endmodule
"""
# A register loop of COUNT multipliers on narrow pins.
PRODUCTS = """
module products (
  input logic clk, input logic rst_n,
  input logic [7:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  output logic [7:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready);
  logic [7:0] chain_q [@COUNT@+1];
  assign s_axis_tready = m_axis_tready;
  assign m_axis_tdata = chain_q[@COUNT@];
  for (genvar i = 0; i < @COUNT@; i++) begin : gen_product
    wire [15:0] product = chain_q[i] * s_axis_tdata;
    always_ff @(posedge clk) chain_q[i+1] <= product[11:4];
  end
  always_ff @(posedge clk) begin
    chain_q[0] <= s_axis_tdata;
    m_axis_tvalid <= rst_n && s_axis_tvalid;
  end
endmodule
"""
PRODUCTS_TOP = (
    PRODUCTS.partition(");")[0].replace("products", "psaflow_top")
    + """);
  products products (.clk, .rst_n, .s_axis_tdata, .s_axis_tvalid, .s_axis_tready,
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready);
endmodule
"""
)


def depth(width):
    return 16384 // {9: 8, 18: 16, 36: 32}.get(width, width)


def memory(width, place):
    bits = (depth(width) - 1).bit_length()
    return f"""
  (* ram_style = "block", no_rw_check *) logic [{width - 1}:0] mem_{width} [{depth(width)}];
  initial $readmemh("init_{width}.hex", mem_{width});
  always_ff @(posedge clk) begin
    if (write) mem_{width}[s_axis_tdata[16+:{bits}]] <= data[{width - 1}:0];
    if (move) read_q[{place}+:{width}] <= mem_{width}[s_axis_tdata[{bits - 1}:0]];
  end"""


def contents(width):
    return np.random.default_rng(width).integers(0, 2**width, depth(width), dtype=np.uint64)


def write_design(folder, top, modules):
    """modules: {name: (text, {memory file: text})}"""
    folder.mkdir()
    (folder / "psaflow_top.sv").write_text(top)
    listed = []
    for name, (text, memories) in modules.items():
        (folder / f"{name}.sv").write_text(text)
        for file, content in memories.items():
            (folder / file).write_text(content)
        listed.append({"name": name, "op": "Test", "sources": [f"{name}.sv"], "memories": sorted(memories)})
    (folder / "design.json").write_text(json.dumps({"top": "psaflow_top", "modules": listed}))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mapped")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    places = np.cumsum((0, *WIDTHS))
    text = CELLS.replace("@MEMORIES@", "".join(memory(w, p) for w, p in zip(WIDTHS, places, strict=False)))
    hexes = {f"init_{w}.hex": "".join(f"{v:x}\n" for v in contents(w)) for w in WIDTHS}
    return write_design(
        tmp_path_factory.mktemp("cells") / "rtl", TOP, {"cells": (text, hexes), "fifo": (FIFO, {})}
    )


def products(tmp_path, count):
    return write_design(
        tmp_path / "rtl", PRODUCTS_TOP, {"products": (PRODUCTS.replace("@COUNT@", str(count)), {})}
    )


def stimulus(beats):
    """uint8 [beats, 12]: writes and reads near each other, never of one word in one beat."""
    rng = np.random.default_rng(5)
    write = rng.integers(0, 64, beats) * 257 % 16384
    read = np.where(
        rng.random(beats) < 0.5, rng.integers(0, 64, beats) * 257 % 16384, rng.integers(0, 16384, beats)
    )
    clash = np.zeros(beats, bool)
    for width in WIDTHS:
        clash |= write % depth(width) == read % depth(width)
    enable = (rng.random(beats) < 0.5) & ~clash
    data = rng.integers(0, 2**36, beats)
    factor = rng.integers(0, 2**18, beats)
    words = [
        int(r) | int(w) << 16 | int(d) << 32 | int(f) << 68 | int(e) << 86
        for r, w, d, f, e in zip(read, write, data, factor, enable, strict=True)
    ]
    return np.array([list(word.to_bytes(12, "little")) for word in words], np.uint8)


def expected(beats):
    """What the design must answer, computed from the definition of its memories and products."""
    memories = {width: [int(v) for v in contents(width)] for width in WIDTHS}
    rows = []
    for beat in beats:
        word = int.from_bytes(bytes(beat), "little")
        read, write, data = word & 0x3FFF, word >> 16 & 0x3FFF, word >> 32 & (1 << 36) - 1
        factor, enable = word >> 68 & 0x3FFFF, word >> 86 & 1
        answer, place = 0, 0
        for width, cells in memories.items():
            answer |= cells[read % depth(width)] << place
            place += width
            if enable:
                cells[write % depth(width)] = data & (1 << width) - 1
        a = data & 0x3FFFF
        product = (a - (a >> 17 << 18)) * (factor - (factor >> 17 << 18))
        answer |= (product & (1 << 36) - 1) << 70 | a * factor << 106 | 0b10 << 142
        rows.append(list(answer.to_bytes(18, "little")))
    return np.array(rows, np.uint8)


@needs_yosys
@needs_verilator
def test_mapped_netlist_and_rtl_equal_the_definition_under_random_stalls(cells, cache, tmp_path):
    ports = ([Stream("s_axis", 12, packet=5)], [Stream("m_axis", 18)])
    rtl = [cells / "cells.sv", cells / "fifo.sv", cells / "psaflow_top.sv"]
    mapped = netlist(cells, tmp_path / "netlist.v", cache)
    simulators = [
        build(rtl, "psaflow_top", tmp_path / "sim", *ports),
        build(mapped, "psaflow_top", tmp_path / "sim", *ports, arguments=cell_arguments()),
    ]
    assert set(re.findall(r"DATA_WIDTH_B\(32'd(\d+)\)", mapped[0].read_text())) == set(map(str, WIDTHS))
    x = stimulus(3000)
    y = expected(x)
    for simulator in simulators:
        for seed, p in ((0, 1.0), (1, 0.6)):
            out = simulator.run({"s_axis": x}, {"m_axis": len(x)}, seed, p, p).outputs["m_axis"]
            np.testing.assert_array_equal(out.data, y)
            np.testing.assert_array_equal(out.last, np.arange(len(x)) % 5 == 4)


@needs_yosys
@needs_verilator
def test_mapped_netlist_of_an_emitted_network_gives_the_reference_logits_under_random_stalls(tmp_path, cache):
    emitted = network()
    rtl = tmp_path / "rtl"
    emit(emitted.model("classifier_y"), rtl)
    mapped = netlist(rtl, tmp_path / "netlist.v", cache)
    ports = ([Stream("s_axis", 1, packet=IMAGES[0].size)], [Stream("m_axis", 4)])
    simulator = build(mapped, "psaflow_top", tmp_path / "sim", *ports, arguments=cell_arguments())
    logits = emitted.values["logits"]
    run = simulator.run({"s_axis": IMAGES.reshape(-1, 1)}, {"m_axis": logits.size}, 1, 0.7, 0.7)
    np.testing.assert_array_equal(run.outputs["m_axis"].data.view("<i4").reshape(logits.shape), logits)


@needs_yosys
def test_memories_become_block_ram_products_dsps_and_the_fifo_distributed_ram(cells, cache):
    mapped = {name: cells for name, (_, cells) in synthesise(cells, cache).items()}
    assert (mapped["cells"].bram, mapped["cells"].dsp) == (6, 2)
    assert (mapped["fifo"].bram, mapped["fifo"].dsp) == (0, 0)
    assert mapped["fifo"].lut >= 6 * 145 / 4
    assert mapped["fifo"].ff < 20


@needs_yosys
def test_a_module_is_mapped_again_only_when_its_memory_or_source_changed(cells, cache):
    first = synthesise(cells, cache)
    made = first["cells"][0].stat().st_mtime_ns
    assert synthesise(cells, cache)["cells"][0].stat().st_mtime_ns == made
    file = cells / "init_9.hex"
    old = file.read_text()
    file.write_text(old.replace(old.split()[0], "0", 1))
    try:
        second = synthesise(cells, cache)
    finally:
        file.write_text(old)
    assert second["cells"][0] != first["cells"][0]
    assert second["fifo"][0] == first["fifo"][0]


@needs_yosys
def test_modules_that_differ_only_in_their_name_are_mapped_once(tmp_path, cache):
    twins = {
        name: (PRODUCTS.replace("products", name).replace("@COUNT@", "1"), {}) for name in ("left", "right")
    }
    other = {"longer": (PRODUCTS.replace("products", "longer").replace("@COUNT@", "3"), {})}
    mapped = synthesise(write_design(tmp_path / "rtl", PRODUCTS_TOP, twins | other), cache)
    assert mapped["left"] == mapped["right"]
    assert [mapped[name][1].dsp for name in ("left", "right", "longer")] == [1, 1, 3]


@needs_yosys
def test_a_syntax_error_names_module_and_line(tmp_path, cache):
    rtl = products(tmp_path, 1)
    (rtl / "products.sv").write_text("module products (input clk);\n  assign = 1;\nendmodule\n")
    with pytest.raises(SynthesisError, match=r"products: yosys failed: products.sv:2: ERROR: syntax error"):
        synthesise(rtl, cache)


@needs_nextpnr
def test_bitstream_holds_the_memories_and_its_figures_are_those_of_nextpnr(cells, cache, tmp_path):
    stages = []
    out = tmp_path / "synth"
    figures = bitstream(
        cells,
        out,
        "LFE5U-85F",
        package="CABGA756",
        mhz=40,
        cache=cache,
        progress=lambda stage, seconds: stages.append(stage),
    )
    report = json.loads((out / "report.json").read_text())
    assert (figures.dsp.used, figures.bram.used) == (2, 6)
    for figure, name in (
        ("lut4", "TRELLIS_COMB"),
        ("ff", "TRELLIS_FF"),
        ("bram", "DP16KD"),
        ("dsp", "MULT18X18D"),
    ):
        usage = report["utilization"][name]
        assert (getattr(figures, figure).used, getattr(figures, figure).available) == (
            usage["used"],
            usage["available"],
        )
    assert figures.fmax_mhz == round(min(clock["achieved"] for clock in report["fmax"].values()), 2) >= 40
    assert json.loads((out / "figures.json").read_text())["fmax_mhz"] == figures.fmax_mhz
    assert [stage for stage in stages if " cells" not in stage and " fifo" not in stage] == [
        "synthesise",
        "stitch",
        "pack",
        "place and route",
        "bitstream",
        "verify",
    ]
    config = (out / "psaflow.config").read_text()
    (out / "other.config").write_text(config.replace("\n000 ", "\n001 ", 1))
    with pytest.raises(SynthesisError, match=r"psaflow.bit: .bram_init \d+ is not that of other.config"):
        check_bitstream(out / "psaflow.bit", out / "other.config")


@needs_nextpnr
def test_a_missed_clock_names_both_frequencies_and_keeps_the_report_but_no_bitstream(tmp_path, cache):
    out = tmp_path / "synth"
    with pytest.raises(
        SynthesisError, match=r"reaches \d+\.\d MHz, 1000 MHz asked \(slowest path: products\..*report: "
    ):
        bitstream(products(tmp_path, 2), out, "LFE5U-25F", mhz=1000, cache=cache)
    assert not out.exists()
    assert (tmp_path / "synth-failed" / "report.json").is_file()
    assert not (tmp_path / "synth-failed" / "psaflow.bit").exists()


@needs_nextpnr
def test_a_device_too_small_is_named_before_place_and_route(tmp_path, cache):
    stages = []
    with pytest.raises(SynthesisError) as error:
        bitstream(
            products(tmp_path, 30),
            tmp_path / "synth",
            "LFE5U-25F",
            cache=cache,
            progress=lambda stage, seconds: stages.append(stage),
        )
    assert str(error.value) == (
        "LFE5U-25F: needs 30 MULT18X18D, has 28; choose LFE5U-45F or a smaller folding (lower PE, SIMD)"
    )
    assert "place and route" not in stages


@needs_nextpnr
def test_a_package_with_too_few_pins_is_named(cells, cache, tmp_path):
    with pytest.raises(SynthesisError, match=r"LFE5U-25F: needs 248 pins, has 197; choose a larger package"):
        bitstream(cells, tmp_path / "synth", "LFE5U-25F", cache=cache)


@needs_nextpnr
def test_unknown_devices_and_packages_are_refused(tmp_path, cache):
    rtl = products(tmp_path, 1)
    with pytest.raises(SynthesisError, match=r"device 'LFE5U-99F': unknown; did you mean LFE5U-"):
        bitstream(rtl, tmp_path / "synth", "LFE5U-99F", cache=cache)
    with pytest.raises(SynthesisError, match=r"device xck26: for estimates only; a bitstream is made for LFE5U-12F, "):
        bitstream(rtl, tmp_path / "synth", "xck26", cache=cache)
    with pytest.raises(SynthesisError, match=r"Unsupported package 'CABGA999'"):
        bitstream(rtl, tmp_path / "synth", "LFE5U-25F", package="CABGA999", cache=cache)


@needs_yosys
def test_a_missing_design_is_named(tmp_path, cache):
    with pytest.raises(SynthesisError, match=r"design.json: not found; emit the design first"):
        synthesise(tmp_path, cache)
