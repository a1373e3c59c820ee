// One beat out for each channel of an image: the rounded sum of its tokens, in the channels' order.
module token_mean_properties #(
  parameter int C = 2,
  parameter int T = 3
) (
  input logic       clk,
  input logic       mark,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  logic rst_n, s_tready, m_tvalid, m_tlast, accept, put, followed;
  logic [7:0] m_tdata, expected, followed_beat, held, ahead, left, channel, token;
  logic signed [9:0] sum;
  logic [C*10-1:0] sums_q;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  token_mean #(.C(C), .T(T), .PE(1), .SHIFT(1), .LO(-100)) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(1'b0), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(C)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );

  assign accept = s_tvalid && s_tready;
  index #(.MODULUS(C)) channels (.clk, .rst_n, .step(accept), .count(channel));
  index #(.MODULUS(T)) tokens (
    .clk, .rst_n, .step(accept && channel == 8'(C - 1)), .count(token)
  );
  assign sum = 10'($signed(s_tdata)) + (token == '0 ? 10'd0 : sums_q[channel*10+:10]);
  always_ff @(posedge clk) if (accept) sums_q[channel*10+:10] <= sum;
  rounded #(.BITS(10), .LO(-100)) reference (.value(sum), .shift(4'd1), .result(expected));
  assign put = accept && token == 8'(T - 1);
  scoreboard #(.WIDTH(8), .CAPACITY(5), .PATIENCE(6)) order (
    .clk, .rst_n, .mark, .put, .put_beat(expected), .offered(m_tvalid), .get(m_tvalid && m_tready),
    .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb if (rst_n && held < 8'd4) assert (s_tready);
  `OUTPUT_BUFFER(8, C, 5)
`ifdef INVARIANTS
  (* hierconn *) wire \dut.fold_q , \dut.valid_q ;
  (* hierconn *) wire [1:0] \dut.token_q ;
  (* hierconn *) wire \dut.address_q ;
  (* hierconn *) wire [9:0] \dut.mem[0] , \dut.mem[1] , \dut.sums ;
  logic [C*10-1:0] written;
  always_comb begin
    written = {\dut.mem[1] , \dut.mem[0] };
    if (\dut.valid_q ) written[\dut.address_q *10+:10] = \dut.sums ;
    if (rst_n) begin
      assert (\dut.fold_q == channel[0] && \dut.token_q == token[1:0]);
      // A channel that this image has reached.
      if (token != '0 || channel > 8'd0) assert (written[9:0] == sums_q[9:0]);
      if (token != '0) assert (written[19:10] == sums_q[19:10]);
    end
  end
`endif

endmodule
