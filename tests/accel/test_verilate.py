"""The Verilator harness: it moves every beat unchanged, obeys and checks AXI-Stream, and never hangs."""

import numpy as np
import pytest

from accel import tools
from accel.verilate import SimulationError, Stream, Tap, build

pytestmark = pytest.mark.skipif(
    not tools.available("verilator", "g++"), reason="verilator or g++ is not installed"
)

PORTS = """
  input logic clk, input logic rst_n,
  input logic [8*BYTES-1:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input logic s_axis_tlast,
  output logic [8*BYTES-1:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast"""

FIFO = f"""
module fifo #(parameter int BYTES = 1, parameter int DEPTH_LOG2 = 3) ({PORTS});
  logic [8*BYTES:0] mem [2**DEPTH_LOG2];
  logic [DEPTH_LOG2:0] write_q, read_q;
  wire [8*BYTES-1:0] in__side_tdata = s_axis_tdata;
  wire in__side_tvalid = s_axis_tvalid, in__side_tready = s_axis_tready;
  wire [DEPTH_LOG2:0] count = write_q - read_q;
  assign s_axis_tready = rst_n && !count[DEPTH_LOG2];
  assign m_axis_tvalid = rst_n && count != 0;
  assign {{m_axis_tlast, m_axis_tdata}} = mem[read_q[DEPTH_LOG2-1:0]];
  always_ff @(posedge clk)
    if (!rst_n) begin
      write_q <= '0;
      read_q <= '0;
    end else begin
      if (s_axis_tvalid && s_axis_tready) begin
        mem[write_q[DEPTH_LOG2-1:0]] <= {{s_axis_tlast, s_axis_tdata}};
        write_q <= write_q + 1'b1;
      end
      if (m_axis_tvalid && m_axis_tready) read_q <= read_q + 1'b1;
    end
endmodule
"""

WIRE = f"""
module pass #(parameter int BYTES = 1) ({PORTS});
  logic [7:0] cycle_q;
  always_ff @(posedge clk) cycle_q <= rst_n ? cycle_q + 1'b1 : 8'd0;
  assign s_axis_tready = @READY@;
  assign m_axis_tvalid = @VALID@;
  assign m_axis_tdata = @DATA@;
  assign m_axis_tlast = s_axis_tlast;
endmodule
"""

ADD_AND_FORK = """
module add_fork(
  input logic clk, input logic rst_n,
  input logic [7:0] s_axis_a_tdata, input logic s_axis_a_tvalid, output logic s_axis_a_tready,
  input logic [7:0] s_axis_b_tdata, input logic s_axis_b_tvalid, output logic s_axis_b_tready,
  output logic [15:0] m_axis_a_tdata, output logic m_axis_a_tvalid, input logic m_axis_a_tready,
  output logic [15:0] m_axis_b_tdata, output logic m_axis_b_tvalid, input logic m_axis_b_tready);
  logic a_q, b_q;
  logic [15:0] sum_q;
  wire take = s_axis_a_tvalid && s_axis_b_tvalid && !a_q && !b_q && rst_n;
  assign s_axis_a_tready = take;
  assign s_axis_b_tready = take;
  assign m_axis_a_tvalid = a_q;
  assign m_axis_b_tvalid = b_q;
  assign m_axis_a_tdata = sum_q;
  assign m_axis_b_tdata = ~sum_q;
  always_ff @(posedge clk)
    if (!rst_n) {a_q, b_q} <= 2'b00;
    else if (take) begin
      {a_q, b_q} <= 2'b11;
      sum_q <= 16'(s_axis_a_tdata) + 16'(s_axis_b_tdata);
    end else begin
      if (m_axis_a_tready) a_q <= 1'b0;
      if (m_axis_b_tready) b_q <= 1'b0;
    end
endmodule
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("verilated")


def source(folder, text, name="dut.sv"):
    path = folder / name
    path.write_text(text)
    return [path]


def wire(valid="s_axis_tvalid", ready="m_axis_tready", data="s_axis_tdata"):
    return WIRE.replace("@VALID@", valid).replace("@READY@", ready).replace("@DATA@", data)


def one_way(tmp_path, work, text, width=1, top="pass", **options):
    return build(
        source(tmp_path, text),
        top,
        work,
        [Stream("s_axis", width, packet=7)],
        [Stream("m_axis", width)],
        parameters={"BYTES": width},
        **options,
    )


def beats(n, width, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 9, 20])
def test_stream_passes_unchanged_with_tlast_and_tap_under_random_stalls(tmp_path, work, width):
    simulator = one_way(tmp_path, work, FIFO, width, "fifo", taps=[Tap("in__side", width)])
    x = beats(500, width)
    for seed, p in ((0, 1.0), (1, 0.5), (2, 0.1)):
        run = simulator.run({"s_axis": x}, {"m_axis": 500}, seed, valid_probability=p, ready_probability=p)
        np.testing.assert_array_equal(run.outputs["m_axis"].data, x)
        np.testing.assert_array_equal(run.taps["in__side"].data, x)
        np.testing.assert_array_equal(run.outputs["m_axis"].last, np.arange(500) % 7 == 6)
        assert (run.outputs["m_axis"].cycles > run.taps["in__side"].cycles).all()
        assert run.first_input_cycle["s_axis"] == run.taps["in__side"].cycles[0]
        assert run.last_input_cycle["s_axis"] == run.taps["in__side"].cycles[-1]


def test_full_speed_run_moves_one_beat_a_cycle_and_stalls_slow_it_to_their_probability(tmp_path, work):
    simulator = one_way(tmp_path, work, FIFO, 1, "fifo")
    x = beats(4000, 1)
    full = simulator.run({"s_axis": x}, {"m_axis": 4000}).outputs["m_axis"].cycles
    assert (np.diff(full) == 1).all()
    half = (
        simulator.run({"s_axis": x}, {"m_axis": 4000}, 5, ready_probability={"m_axis": 0.5})
        .outputs["m_axis"]
        .cycles
    )
    assert 1.9 < np.diff(half).mean() < 2.1


def test_a_seed_repeats_a_run_and_another_seed_does_not(tmp_path, work):
    simulator = one_way(tmp_path, work, FIFO, 1, "fifo")
    runs = [
        simulator.run({"s_axis": beats(200, 1)}, {"m_axis": 200}, seed, 0.5, 0.5).outputs["m_axis"].cycles
        for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_several_inputs_and_outputs_stall_independently(tmp_path, work):
    simulator = build(
        source(tmp_path, ADD_AND_FORK),
        "add_fork",
        work,
        [Stream("s_axis_a", 1), Stream("s_axis_b", 1)],
        [Stream("m_axis_a", 2), Stream("m_axis_b", 2)],
    )
    a, b = beats(300, 1, 1), beats(300, 1, 2)
    run = simulator.run(
        {"s_axis_a": a, "s_axis_b": b},
        {"m_axis_a": 300, "m_axis_b": 300},
        3,
        0.6,
        {"m_axis_a": 0.3, "m_axis_b": 0.8},
    )
    total = (a.astype(np.uint16) + b).astype("<u2")
    np.testing.assert_array_equal(run.outputs["m_axis_a"].data.view("<u2"), total)
    np.testing.assert_array_equal(run.outputs["m_axis_b"].data.view("<u2"), ~total)
    assert (run.outputs["m_axis_a"].cycles != run.outputs["m_axis_b"].cycles).any()
    assert run.outputs["m_axis_a"].last is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            wire(valid="s_axis_tvalid && cycle_q[0]", ready="m_axis_tready && cycle_q[0]"),
            "tvalid fell before tready",
        ),
        (wire(data="s_axis_tdata ^ cycle_q"), "tdata changed while tvalid waited"),
    ],
)
def test_an_output_that_breaks_the_protocol_is_reported(tmp_path, work, text, complaint):
    with pytest.raises(SimulationError, match=f"m_axis: AXI-Stream violated at cycle .*{complaint}"):
        one_way(tmp_path, work, text).run({"s_axis": beats(100, 1)}, {"m_axis": 100}, 4, 0.5, 0.5)


def test_a_surplus_beat_is_reported(tmp_path, work):
    with pytest.raises(SimulationError, match="m_axis: more than the expected 9 beats"):
        one_way(tmp_path, work, wire()).run({"s_axis": beats(10, 1)}, {"m_axis": 9})


def test_a_deadlock_ends_with_the_streams_that_wait(tmp_path, work):
    simulator = one_way(tmp_path, work, wire(ready="1'b0", valid="1'b0"))
    with pytest.raises(
        SimulationError,
        match=r"no beat moved for 500 cycles .*s_axis 0 of 10 beats taken, waits for "
        "tready; m_axis 0 of 10 beats given, waits for tvalid",
    ):
        simulator.run({"s_axis": beats(10, 1)}, {"m_axis": 10}, idle_cycles=500)


def test_the_limit_of_cycles_ends_a_run(tmp_path, work):
    with pytest.raises(
        SimulationError, match="not done after 50 cycles: s_axis 50 of 100 beats taken, ready"
    ):
        one_way(tmp_path, work, wire()).run({"s_axis": beats(100, 1)}, {"m_axis": 100}, timeout_cycles=50)


def test_a_missing_memory_file_is_an_error_and_a_present_one_is_read_from_the_cwd(tmp_path, work):
    text = wire(data="memory[s_axis_tdata]").replace(
        "logic [7:0] cycle_q;",
        """logic [7:0] cycle_q;
  logic [7:0] memory [256];
  initial $readmemh("table.hex", memory);""",
    )
    simulator = one_way(tmp_path, work, text)
    x = beats(50, 1)
    with pytest.raises(SimulationError, match=r"table.hex.*not found"):
        simulator.run({"s_axis": x}, {"m_axis": 50})
    table = beats(256, 1, 9)
    (tmp_path / "table.hex").write_text("".join(f"{v:02x}\n" for v in table[:, 0]))
    np.testing.assert_array_equal(
        simulator.run({"s_axis": x}, {"m_axis": 50}).outputs["m_axis"].data, table[x[:, 0]]
    )


def test_declared_widths_and_names_are_checked_against_the_module(tmp_path, work):
    with pytest.raises(SimulationError, match="s_axis_tdata has 16 bits, the stream was declared with 8"):
        build(
            source(tmp_path, wire()),
            "pass",
            work,
            [Stream("s_axis", 1)],
            [Stream("m_axis", 1)],
            parameters={"BYTES": 2},
        )
    with pytest.raises(SimulationError, match="no port s_axis_b_tdata"):
        build(source(tmp_path, wire()), "pass", work, [Stream("s_axis_b", 1)], [])
    with pytest.raises(SimulationError, match=r"verilator failed: .*absent"):
        build(source(tmp_path, "module pass; absent a(); endmodule"), "pass", work, [], [])


def test_wrong_feeds_are_refused_before_the_run(tmp_path, work):
    simulator = one_way(tmp_path, work, wire())
    with pytest.raises(ValueError, match=r"s_axis: uint8 \[beats, 1\] expected, uint8 \[10, 2\] given"):
        simulator.run({"s_axis": beats(10, 2)}, {"m_axis": 10})
    with pytest.raises(ValueError, match="outputs are"):
        simulator.run({"s_axis": beats(10, 1)}, {"m_axi": 10})
    with pytest.raises(ValueError, match="probability of m_axis: 0"):
        simulator.run({"s_axis": beats(10, 1)}, {"m_axis": 10}, ready_probability=0)


def test_an_unchanged_design_is_not_compiled_again_and_a_changed_one_is(tmp_path, work):
    first = one_way(tmp_path, work, wire())
    made = first.library.stat().st_mtime_ns
    assert one_way(tmp_path, work, wire()).library.stat().st_mtime_ns == made
    assert one_way(tmp_path, work, wire(data="~s_axis_tdata")).library != first.library
