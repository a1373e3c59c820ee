// Beat by beat, each channel with its own multiplier, bias and shift; elements of 4 bits.
module channel_requant_properties #(
  parameter int HALF_UP = 0
) (
  input logic       clk,
  input logic       mark,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  localparam int BEATS = 4;
  logic rst_n, s_tready, m_tvalid, m_tlast, put, followed;
  logic [7:0] m_tdata, expected, followed_beat, held, ahead, left, channel;
  logic signed [7:0] x, value;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  channel_requant #(
    .C(2), .PE(1), .BEATS(BEATS), .X_BITS(4), .MULT_BITS(3), .BIAS_BITS(4), .VALUE_BITS(7),
    .SHIFT_BASE(1), .SHIFT_BITS(1), .HALF_UP(HALF_UP), .HI(9), .PARAM_FILE("param.hex")
  ) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(1'b0), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(BEATS)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );

  // param.hex: channel 0 is (3 x - 5) / 2, channel 1 is (-2 x + 6) / 4.
  assign put = s_tvalid && s_tready;
  assign x = 8'($signed(s_tdata[3:0]));
  assign value = channel == '0 ? 3 * x - 5 : 6 - 2 * x;
  index #(.MODULUS(2)) channels (.clk, .rst_n, .step(put), .count(channel));
  rounded #(.BITS(8), .HALF_UP(HALF_UP), .HI(9)) reference (
    .value, .shift(channel == '0 ? 4'd1 : 4'd2), .result(expected)
  );
  scoreboard #(.WIDTH(8), .CAPACITY(5), .PATIENCE(8)) order (
    .clk, .rst_n, .mark, .put, .put_beat(expected), .offered(m_tvalid), .get(m_tvalid && m_tready),
    .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb if (rst_n && held < 8'd4) assert (s_tready);
  `OUTPUT_BUFFER(8, BEATS, 7)
`ifdef INVARIANTS
  (* hierconn *) wire \dut.fold_q ;
  always_comb if (rst_n) assert (\dut.fold_q == channel[0]);
`endif

endmodule
