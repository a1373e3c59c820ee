// Beat by beat, each channel with its own table; with B > 0 between knots. The memories hold
// channel 0: 5 i + 3, channel 1: -7 i, of entry i, modulo 256.
module channel_lut_properties #(
  parameter int B       = 6,
  parameter int HALF_UP = 0,
  parameter int LOWEST  = -128
) (
  input logic       clk,
  input logic       mark,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  localparam int BEATS = 4;
  localparam int STAGES = B == 0 ? 2 : 5;
  logic rst_n, s_tready, m_tvalid, m_tlast, put, followed;
  logic [7:0] m_tdata, expected, followed_beat, held, ahead, left, channel, code, k, left_knot, right_knot;
  logic [7:0] fraction;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  channel_lut #(
    .C(2), .PE(1), .BEATS(BEATS), .LOWEST(LOWEST), .B(B), .HALF_UP(HALF_UP), .TABLE_FILE("table")
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

  assign put = s_tvalid && s_tready;
  index #(.MODULUS(2)) channels (.clk, .rst_n, .step(put), .count(channel));
  assign code = s_tdata - 8'(LOWEST);
  assign k = code >> B;
  assign fraction = code & 8'((1 << B) - 1);
  assign left_knot = channel == '0 ? 8'(5 * k + 3) : 8'(-7 * k);
  assign right_knot = channel == '0 ? 8'(5 * (k + 1) + 3) : 8'(-7 * (k + 1));
  if (B == 0) begin : gen_table
    assign expected = left_knot;
  end else begin : gen_line
    logic signed [17:0] product;
    logic [7:0] rise;
    assign product = (18'($signed(right_knot)) - 18'($signed(left_knot))) * $signed({1'b0, fraction});
    rounded #(.BITS(18), .HALF_UP(HALF_UP), .LO(-256), .HI(255)) reference (
      .value(product), .shift(4'(B)), .result(rise)
    );
    assign expected = left_knot + rise;
  end
  scoreboard #(.WIDTH(8), .CAPACITY(5), .PATIENCE(STAGES + 1)) order (
    .clk, .rst_n, .mark, .put, .put_beat(expected), .offered(m_tvalid), .get(m_tvalid && m_tready),
    .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb if (rst_n && held < 8'd4) assert (s_tready);
  `OUTPUT_BUFFER(8, BEATS, STAGES)
`ifdef INVARIANTS
  (* hierconn *) wire \dut.fold_q ;
  always_comb if (rst_n) assert (\dut.fold_q == channel[0]);
`endif

endmodule
