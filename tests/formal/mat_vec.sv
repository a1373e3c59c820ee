// A token of K elements gives its M results once: none is offered before the token is there, none
// left out or made up, tlast with the last of TOKENS tokens; the output buffer never overflows.
// The values of the results are free here: simulation compares them with the reference.
module mat_vec_properties #(
  parameter int K    = 4,
  parameter int M    = 4,
  parameter int PE   = 2,
  parameter int SIMD = 2
) (
  input logic       clk,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  localparam int TOKENS = 3;
  localparam int BUFFERED = K > SIMD && M > PE ? 1 : 0;
  logic rst_n, s_tready, m_tvalid, m_tlast;
  logic [7:0] m_tdata, left, place, held, waited;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  mat_vec #(
    .K(K), .M(M), .TOKENS(TOKENS), .PE(PE), .SIMD(SIMD), .ACC_BITS(12), .BIAS_BITS(4)
  ) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(1'b0), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(TOKENS * M)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );

  // `held` results are due: those of the tokens that came whole, less what left.
  index #(.MODULUS(K)) places (.clk, .rst_n, .step(s_tvalid && s_tready), .count(place));
  always_ff @(posedge clk) begin
    held <= !rst_n ? '0 : held - 8'(m_tvalid && m_tready)
      + (s_tvalid && s_tready && place == 8'(K - 1) ? 8'(M) : 8'd0);
    waited <= rst_n && held != '0 && !m_tvalid ? waited + 1'b1 : '0;
  end
  (* hierconn *) wire [2:0] \dut.core.out.taken_q , \dut.core.out.stored_q ;
  always_comb begin
    if (rst_n) begin
      assert (\dut.core.out.taken_q <= 3'd4 && \dut.core.out.stored_q <= 3'd4);
      assert (held <= 8'(5 + 2 * M));
      assert (waited <= 8'd16);
      if (m_tvalid) assert (held != '0);
    end
  end

`ifdef INVARIANTS
  (* hierconn *) wire \dut.row_q , \dut.col_q , \dut.primed , \dut.weight_rom.primed ;
  (* hierconn *) wire [1:0] \dut.gen_buffer.tokens.tokens.full_q ;
  (* hierconn *) wire [$clog2(2 * K)-1:0] \dut.gen_buffer.tokens.tokens.write_address ;
  (* hierconn *) wire \dut.gen_gather.beat_q ;
  (* hierconn *) wire [5:0] \dut.core.group_delay.gen_registers.stages_q ;
  (* hierconn *) wire [3:0] \dut.core.sum_delay.gen_registers.stages_q ;
  (* hierconn *) wire [1:0] \dut.core.gen_steps.left_q ;
  (* hierconn *) wire \dut.core.value_valid ;
  (* hierconn *) wire [2:0] \dut.core.gen_requant.result_delay.gen_registers.stages_q ;
  (* hierconn *) wire [1:0] \dut.core.out.write_q , \dut.core.out.read_q ;
  (* hierconn *) wire [$clog2(TOKENS * M)-1:0] \dut.core.out.beat_q ;
  logic [7:0] groups, results, in_flight, to_issue;
  // Groups from their issue to the sum, and results from there to the output buffer.
  assign groups = 8'(\dut.core.group_delay.gen_registers.stages_q [0])
    + 8'(\dut.core.group_delay.gen_registers.stages_q [3])
    + 8'(\dut.core.sum_delay.gen_registers.stages_q [1]);
  assign results = 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [0])
    + 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [1])
    + 8'(\dut.core.gen_requant.result_delay.gen_registers.stages_q [2]);
  assign in_flight = groups * 8'(PE) + results + (PE == 1 ? 8'(\dut.core.sum_delay.gen_registers.stages_q [0])
    : (\dut.core.sum_delay.gen_registers.stages_q [0] ? 8'(PE) : 8'd0) + 8'(\dut.core.gen_steps.left_q )
      + 8'(\dut.core.value_valid ));
  // Of the tokens that came whole, the results whose groups did not end yet.
  assign to_issue = BUFFERED != 0
    ? 8'(M) * 8'(\dut.gen_buffer.tokens.tokens.full_q ) - 8'(PE) * 8'(\dut.row_q )
    : \dut.row_q ? 8'(M) - 8'(PE) : 8'd0;
  output_buffer_invariants #(.WIDTH(8), .DEPTH(4), .BEATS(TOKENS * M)) state (
    .rst_n, .taken(8'(\dut.core.out.taken_q )), .stored(8'(\dut.core.out.stored_q )),
    .write(8'(\dut.core.out.write_q )), .read(8'(\dut.core.out.read_q )),
    .beat(8'(\dut.core.out.beat_q )), .memory(32'd0), .tvalid(m_tvalid), .tdata(m_tdata), .left,
    .in_flight, .followed(1'b0), .ahead(8'd0), .followed_beat(8'd0)
  );
  always_comb begin
    if (rst_n) begin
      assert (held == to_issue + 8'(\dut.core.out.taken_q ) + 8'(m_tvalid));
      if (BUFFERED != 0) begin
        assert (\dut.gen_buffer.tokens.tokens.full_q <= 2'd2);
        assert (!\dut.row_q && !\dut.col_q || \dut.gen_buffer.tokens.tokens.full_q != 2'd0);
        assert (8'(\dut.gen_buffer.tokens.tokens.write_address ) == place
          || 8'(\dut.gen_buffer.tokens.tokens.write_address ) == place + 8'(K));
      end else begin
        assert (!\dut.col_q && \dut.gen_gather.beat_q == place[0]);
      end
    end
  end
`endif

endmodule
