// Two registers between two streams: breaks every combinational path, keeps the order.
// Timing: II 1, latency 1; s_axis_tready is a register.
module skid_buffer #(
  parameter int WIDTH = 9
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic [WIDTH-1:0] s_axis_tdata,
  input  logic             s_axis_tvalid,
  output logic             s_axis_tready,
  output logic [WIDTH-1:0] m_axis_tdata,
  output logic             m_axis_tvalid,
  input  logic             m_axis_tready
);

  logic [WIDTH-1:0] spare_q;
  logic spare_valid_q, accept;

  assign s_axis_tready = !spare_valid_q;
  assign accept = s_axis_tvalid && s_axis_tready;

  always_ff @(posedge clk) begin
    if (m_axis_tready || !m_axis_tvalid) m_axis_tdata <= spare_valid_q ? spare_q : s_axis_tdata;
    if (accept) spare_q <= s_axis_tdata;
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      m_axis_tvalid <= 1'b0;
      spare_valid_q <= 1'b0;
    end else if (m_axis_tready || !m_axis_tvalid) begin
      m_axis_tvalid <= spare_valid_q || accept;
      spare_valid_q <= 1'b0;
    end else if (accept) begin
      spare_valid_q <= 1'b1;
    end
  end

endmodule
