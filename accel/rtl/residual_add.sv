// y = clip(round(((a << A_SHIFT) + (b << B_SHIFT)) / 2**SHIFT), LO, HI), int8, PE lanes.
// A beat is taken from a and b together. Timing: II 1, latency 6. No memory.
module residual_add #(
  parameter int PE      = 1,
  parameter int BEATS   = 6144,
  parameter int A_SHIFT = 0,
  parameter int B_SHIFT = 0,
  parameter int SHIFT   = 0,
  parameter int HALF_UP = 0,
  parameter int LO      = -128,
  parameter int HI      = 127
) (
  input  logic            clk,
  input  logic            rst_n,
  input  logic [PE*8-1:0] s_axis_a_tdata,
  input  logic            s_axis_a_tvalid,
  output logic            s_axis_a_tready,
  input  logic            s_axis_a_tlast,
  input  logic [PE*8-1:0] s_axis_b_tdata,
  input  logic            s_axis_b_tvalid,
  output logic            s_axis_b_tready,
  input  logic            s_axis_b_tlast,
  output logic [PE*8-1:0] m_axis_tdata,
  output logic            m_axis_tvalid,
  input  logic            m_axis_tready,
  output logic            m_axis_tlast
);

  localparam int SUM_BITS = 9 + (A_SHIFT > B_SHIFT ? A_SHIFT : B_SHIFT);

  wire unused = &{1'b0, s_axis_a_tlast, s_axis_b_tlast};

  logic accept, room, push;
  assign accept = s_axis_a_tvalid && s_axis_b_tvalid && room;
  assign s_axis_a_tready = room && s_axis_b_tvalid;
  assign s_axis_b_tready = room && s_axis_a_tvalid;

  logic [PE*8-1:0] results;
  for (genvar p = 0; p < PE; p++) begin : gen_lane
    logic signed [7:0] a, b;
    logic signed [SUM_BITS-1:0] sum_q;
    assign a = s_axis_a_tdata[p*8+:8];
    assign b = s_axis_b_tdata[p*8+:8];
    always_ff @(posedge clk) sum_q <= (SUM_BITS'(a) <<< A_SHIFT) + (SUM_BITS'(b) <<< B_SHIFT);
    requant #(
      .VALUE_BITS(SUM_BITS), .SHIFT_BASE(SHIFT), .SHIFT_BITS(1),
      .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) lane (
      .clk, .value(sum_q), .shift(1'b0), .result(results[p*8+:8])
    );
  end

  delay #(
    .STAGES(4)
  ) valid_delay (
    .clk, .rst_n, .x(accept), .y(push)
  );
  output_buffer #(
    .WIDTH(PE * 8), .BEATS(BEATS)
  ) out (
    .clk, .rst_n, .take(accept), .room, .push, .push_data(results),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
