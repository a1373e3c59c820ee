// IN_LANES elements of BITS bits a beat -> OUT_LANES a beat, order kept, one a multiple of the
// other. TLAST goes with the last element.
// Timing: one beat a cycle on the wider side's narrow partner, no bubble; latency 1. No memory.
module width_converter #(
  parameter int IN_LANES  = 1,
  parameter int OUT_LANES = 4,
  parameter int BITS      = 8
) (
  input  logic                      clk,
  input  logic                      rst_n,
  input  logic [IN_LANES*BITS-1:0]  s_axis_tdata,
  input  logic                      s_axis_tvalid,
  output logic                      s_axis_tready,
  input  logic                      s_axis_tlast,
  output logic [OUT_LANES*BITS-1:0] m_axis_tdata,
  output logic                      m_axis_tvalid,
  input  logic                      m_axis_tready,
  output logic                      m_axis_tlast
);

  localparam int UP = OUT_LANES / IN_LANES;
  localparam int DOWN = IN_LANES / OUT_LANES;
  localparam int RATIO = UP > DOWN ? UP : DOWN;
  localparam int PHASE_BITS = RATIO > 1 ? $clog2(RATIO) : 1;

  if (IN_LANES != OUT_LANES * DOWN && OUT_LANES != IN_LANES * UP) begin : gen_check_lanes
    width_converter_one_of_IN_LANES_and_OUT_LANES_must_divide_the_other check ();
  end

  logic [PHASE_BITS-1:0] phase_q;
  logic step, last_phase;
  assign last_phase = phase_q == PHASE_BITS'(RATIO - 1);
  always_ff @(posedge clk) begin
    if (!rst_n) phase_q <= '0;
    else if (step) phase_q <= last_phase ? '0 : phase_q + 1'b1;
  end

  if (UP > 1) begin : gen_up
    // Collect all but the last beat of a word; the last one takes the word along.
    localparam int KEEP = (UP - 1) * IN_LANES * BITS;
    logic [KEEP-1:0] kept_q;
    logic [OUT_LANES*BITS-1:0] word;
    assign word = {s_axis_tdata, kept_q};
    assign step = s_axis_tvalid && s_axis_tready;
    always_ff @(posedge clk) if (step) kept_q <= word[OUT_LANES*BITS-1-:KEEP];
    skid_buffer #(
      .WIDTH(OUT_LANES * BITS + 1)
    ) out (
      .clk, .rst_n, .s_axis_tdata({s_axis_tlast, word}),
      .s_axis_tvalid(s_axis_tvalid && last_phase), .s_axis_tready,
      .m_axis_tdata({m_axis_tlast, m_axis_tdata}), .m_axis_tvalid, .m_axis_tready
    );
  end else begin : gen_down
    logic [IN_LANES*BITS-1:0] word;
    logic last;
    skid_buffer #(
      .WIDTH(IN_LANES * BITS + 1)
    ) entry (
      .clk, .rst_n, .s_axis_tdata({s_axis_tlast, s_axis_tdata}), .s_axis_tvalid, .s_axis_tready,
      .m_axis_tdata({last, word}), .m_axis_tvalid, .m_axis_tready(m_axis_tready && last_phase)
    );
    assign step = m_axis_tvalid && m_axis_tready;
    assign m_axis_tdata = word[int'(phase_q)*OUT_LANES*BITS+:OUT_LANES*BITS];
    assign m_axis_tlast = last && last_phase;
  end

endmodule
