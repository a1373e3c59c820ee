// An image of T tokens of C channels gives its U*C results once: those of output token 0 not before
// the last token's channel is there, the others not before the image is, none left out or made up,
// tlast with the last of the image; the output buffer never overflows.
// The values of the results are free here: simulation compares them with the reference.
module token_mix_properties #(
  parameter int C    = 2,
  parameter int T    = 4,
  parameter int U    = 2,
  parameter int SIMD = 2
) (
  input logic       clk,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  logic rst_n, s_tready, m_tvalid, m_tlast;
  logic [7:0] m_tdata, left, place, held, waited;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  token_mix #(
    .C(C), .T(T), .U(U), .PE(1), .SIMD(SIMD), .ACC_BITS(12), .BIAS_BITS(4)
  ) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(1'b0), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(U * C)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );

  // `held` results are due and did not leave. With each channel of the last token its first result
  // is, with the last channel all that remain.
  logic accept, last_token;
  assign accept = s_tvalid && s_tready;
  assign last_token = place >= 8'((T - 1) * C);
  index #(.MODULUS(T * C)) places (.clk, .rst_n, .step(accept), .count(place));
  always_ff @(posedge clk) begin
    held <= !rst_n ? '0 : held - 8'(m_tvalid && m_tready)
      + (!accept || !last_token ? 8'd0 : place == 8'(T * C - 1) ? 8'(U * C - C + 1) : 8'd1);
    waited <= rst_n && held != '0 && !m_tvalid ? waited + 1'b1 : '0;
  end
  (* hierconn *) wire [2:0] \dut.core.out.taken_q , \dut.core.out.stored_q ;
  always_comb begin
    if (rst_n) begin
      assert (\dut.core.out.taken_q <= 3'd4 && \dut.core.out.stored_q <= 3'd4);
      assert (held <= 8'(5 + 2 * U * C));
      assert (waited <= 8'd16);
      if (m_tvalid) assert (held != '0);
    end
  end

`ifdef INVARIANTS
  (* hierconn *) wire \dut.row_q , \dut.word_q , \dut.step_q , \dut.write_word_q , \dut.half_q ;
  (* hierconn *) wire \dut.lane_q , \dut.part_q , \dut.bank_q ;
  (* hierconn *) wire [2:0] \dut.write_base_q ;
  (* hierconn *) wire [1:0] \dut.images.full_q ;
  (* hierconn *) wire [3:0] \dut.images.write_address ;
  (* hierconn *) wire [5:0] \dut.core.group_delay.gen_registers.stages_q ;
  (* hierconn *) wire [3:0] \dut.core.sum_delay.gen_registers.stages_q ;
  (* hierconn *) wire [2:0] \dut.core.gen_requant.result_delay.gen_registers.stages_q ;
  (* hierconn *) wire [1:0] \dut.core.out.write_q , \dut.core.out.read_q , \dut.core.out.beat_q ;
  logic [7:0] in_flight, to_issue;
  assign in_flight = 8'(\dut.core.group_delay.gen_registers.stages_q [0])
    + 8'(\dut.core.group_delay.gen_registers.stages_q [3])
    + 8'(\dut.core.sum_delay.gen_registers.stages_q [1])
    + 8'(\dut.core.sum_delay.gen_registers.stages_q [0])
    + 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [0])
    + 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [1])
    + 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [2]);
  // Results that are due and whose last step was not issued.
  assign to_issue = 8'(U * C) * 8'(\dut.images.full_q ) + (last_token ? place - 8'((T - 1) * C) : 8'd0)
    - (8'(C) * 8'(\dut.row_q ) + 8'(\dut.word_q ));
  output_buffer_invariants #(.WIDTH(8), .DEPTH(4), .BEATS(U * C)) state (
    .rst_n, .taken(8'(\dut.core.out.taken_q )), .stored(8'(\dut.core.out.stored_q )),
    .write(8'(\dut.core.out.write_q )), .read(8'(\dut.core.out.read_q )),
    .beat(8'(\dut.core.out.beat_q )), .memory(32'd0), .tvalid(m_tvalid), .tdata(m_tdata), .left,
    .in_flight, .followed(1'b0), .ahead(8'd0), .followed_beat(8'd0)
  );
  always_comb begin
    if (rst_n) begin
      assert (held == to_issue + 8'(\dut.core.out.taken_q ) + 8'(m_tvalid));
      assert (\dut.images.full_q <= 2'd2 && to_issue <= 8'(2 * U * C));
      // The place of the next write: half, then token / SIMD and channel, and the bank.
      assert (8'(\dut.images.write_address [2:0]) == place);
      assert (!\dut.lane_q && !\dut.part_q );
      assert (\dut.write_word_q == place[0] && \dut.bank_q == place[1]);
      assert (\dut.write_base_q == {\dut.images.write_address [3], place[2], 1'b0});
      // Only what is there is read; a half is read while the other is written.
      if (\dut.step_q || \dut.word_q || \dut.row_q )
        assert (\dut.images.full_q != 2'd0 || (last_token && !\dut.row_q && place[0]));
      if (\dut.step_q ) assert (to_issue != 8'd0);
      assert (\dut.half_q == \dut.images.write_address [3] ^ \dut.images.full_q [0]);
    end
  end
`endif

endmodule
