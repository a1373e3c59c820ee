// A beat is taken from a and b together or from none, and the rounded sums leave in that order.
module residual_add_properties #(
  parameter int HALF_UP = 0
) (
  input logic       clk,
  input logic       mark,
  input logic [7:0] a_tdata,
  input logic [7:0] b_tdata,
  input logic       a_tvalid,
  input logic       b_tvalid,
  input logic       m_tready
);

  localparam int BEATS = 3;
  logic rst_n, a_tready, b_tready, m_tvalid, m_tlast, put, followed;
  logic [7:0] m_tdata, expected, followed_beat, held, ahead, left;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  residual_add #(
    .PE(1), .BEATS(BEATS), .A_SHIFT(1), .B_SHIFT(0), .SHIFT(2), .HALF_UP(HALF_UP), .LO(-90)
  ) dut (
    .clk, .rst_n, .s_axis_a_tdata(a_tdata), .s_axis_a_tvalid(a_tvalid), .s_axis_a_tready(a_tready),
    .s_axis_a_tlast(1'b0), .s_axis_b_tdata(b_tdata), .s_axis_b_tvalid(b_tvalid),
    .s_axis_b_tready(b_tready), .s_axis_b_tlast(1'b0), .m_axis_tdata(m_tdata),
    .m_axis_tvalid(m_tvalid), .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source_a (
    .clk, .rst_n, .tvalid(a_tvalid), .tready(a_tready), .beat(a_tdata)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source_b (
    .clk, .rst_n, .tvalid(b_tvalid), .tready(b_tready), .beat(b_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(BEATS)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );
  assign put = a_tvalid && a_tready;
  rounded #(.BITS(11), .HALF_UP(HALF_UP), .LO(-90)) reference (
    .value({{2{a_tdata[7]}}, a_tdata, 1'b0} + {{3{b_tdata[7]}}, b_tdata}), .shift(4'd2), .result(expected)
  );
  scoreboard #(.WIDTH(8), .CAPACITY(5), .PATIENCE(5)) order (
    .clk, .rst_n, .mark, .put, .put_beat(expected), .offered(m_tvalid), .get(m_tvalid && m_tready),
    .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb begin
    if (rst_n) begin
      assert (put == (b_tvalid && b_tready));
      if (held < 8'd4 && a_tvalid && b_tvalid) assert (a_tready);
    end
  end
  `OUTPUT_BUFFER(8, BEATS, 4)

endmodule
