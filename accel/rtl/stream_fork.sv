// Fork (a word SystemVerilog keeps for itself): every beat goes to a and to b, TLAST with it.
// A branch that does not read stops the other after two beats.
// Timing: II 1, latency 1. No memory.
module stream_fork #(
  parameter int PE   = 1,
  parameter int BITS = 8
) (
  input  logic               clk,
  input  logic               rst_n,
  input  logic [PE*BITS-1:0] s_axis_tdata,
  input  logic               s_axis_tvalid,
  output logic               s_axis_tready,
  input  logic               s_axis_tlast,
  output logic [PE*BITS-1:0] m_axis_a_tdata,
  output logic               m_axis_a_tvalid,
  input  logic               m_axis_a_tready,
  output logic               m_axis_a_tlast,
  output logic [PE*BITS-1:0] m_axis_b_tdata,
  output logic               m_axis_b_tvalid,
  input  logic               m_axis_b_tready,
  output logic               m_axis_b_tlast
);

  logic a_ready, b_ready;
  assign s_axis_tready = a_ready && b_ready;

  skid_buffer #(
    .WIDTH(PE * BITS + 1)
  ) branch_a (
    .clk, .rst_n, .s_axis_tdata({s_axis_tlast, s_axis_tdata}),
    .s_axis_tvalid(s_axis_tvalid && b_ready), .s_axis_tready(a_ready),
    .m_axis_tdata({m_axis_a_tlast, m_axis_a_tdata}), .m_axis_tvalid(m_axis_a_tvalid),
    .m_axis_tready(m_axis_a_tready)
  );
  skid_buffer #(
    .WIDTH(PE * BITS + 1)
  ) branch_b (
    .clk, .rst_n, .s_axis_tdata({s_axis_tlast, s_axis_tdata}),
    .s_axis_tvalid(s_axis_tvalid && a_ready), .s_axis_tready(b_ready),
    .m_axis_tdata({m_axis_b_tlast, m_axis_b_tdata}), .m_axis_tvalid(m_axis_b_tvalid),
    .m_axis_tready(m_axis_b_tready)
  );

endmodule
