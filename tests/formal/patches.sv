// Images of 4 lines of 4 bytes leave as 4 patches of 2 x 2, each byte once and at its place, none
// before it came, and the next one that is there is offered within 4 cycles.
// Bytes are numbered modulo 32, two images: 16 image + 8 band + 4 line + 2 column + byte in the
// order in which they come, and 16 image + 8 band + 4 column + 2 line + byte as they leave.
module patches_properties (
  input logic       clk,
  input logic       mark,
  input logic [7:0] s_tdata,
  input logic       s_tvalid,
  input logic       m_tready
);

  logic rst_n, s_tready, m_tvalid, m_tlast, put, get, followed;
  logic [7:0] m_tdata, followed_beat, left, came, gone;
  logic [4:0] followed_place;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;
  assign put = s_tvalid && s_tready;
  assign get = m_tvalid && m_tready;

  patches #(.H(4), .W(4), .F(1), .P(2), .PE(1)) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(1'b0), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(8), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_output #(.WIDTH(8), .BEATS(16)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );
  index #(.MODULUS(32)) comes (.clk, .rst_n, .step(put), .count(came));
  index #(.MODULUS(32)) goes (.clk, .rst_n, .step(get), .count(gone));

  // `next`: the place, as it came, of the byte that leaves next; `behind`: bytes that came since.
  // One byte is followed; `ahead` bytes leave before it.
  logic [4:0] next, behind, ahead_5;
  logic [7:0] waited, ahead;
  logic start, there;
  assign next = {gone[4:3], gone[1], gone[2], gone[0]};
  assign behind = came[4:0] - next;
  assign there = behind != '0 && behind <= 5'd24;
  assign ahead_5 = {followed_place[4:3], followed_place[1], followed_place[2], followed_place[0]} - gone[4:0];
  assign ahead = 8'(ahead_5);
  assign start = put && mark && !followed;
  always_ff @(posedge clk) begin
    followed <= rst_n && (start || (followed && !(get && ahead == '0)));
    waited <= rst_n && there && !m_tvalid ? waited + 1'b1 : '0;
    if (start) begin
      followed_beat <= s_tdata;
      followed_place <= came[4:0];
    end
  end
  always_comb begin
    if (rst_n) begin
      assert (waited <= 8'd4);
      if (m_tvalid) assert (there);
      if (m_tvalid && followed && ahead == '0) assert (m_tdata == followed_beat);
      if (5'(came - gone) < 5'd8) assert (s_tready);
    end
  end

`ifdef INVARIANTS
  logic [7:0] held;
  `OUTPUT_BUFFER(8, 16, 2)
  assign held = 8'(\dut.out.taken_q ) + 8'(m_tvalid);
  (* hierconn *) wire [3:0] \dut.write_address , \dut.read_q ;
  (* hierconn *) wire [1:0] \dut.bands.full_q ;
  (* hierconn *) wire \dut.beat_q , \dut.line_q , \dut.col_q ;
  (* hierconn *) wire [7:0]
    \dut.band_buffer.gen_distributed.mem[0] , \dut.band_buffer.gen_distributed.mem[1] ,
    \dut.band_buffer.gen_distributed.mem[2] , \dut.band_buffer.gen_distributed.mem[3] ,
    \dut.band_buffer.gen_distributed.mem[4] , \dut.band_buffer.gen_distributed.mem[5] ,
    \dut.band_buffer.gen_distributed.mem[6] , \dut.band_buffer.gen_distributed.mem[7] ,
    \dut.band_buffer.gen_distributed.mem[8] , \dut.band_buffer.gen_distributed.mem[9] ,
    \dut.band_buffer.gen_distributed.mem[10] , \dut.band_buffer.gen_distributed.mem[11] ,
    \dut.band_buffer.gen_distributed.mem[12] , \dut.band_buffer.gen_distributed.mem[13] ,
    \dut.band_buffer.gen_distributed.mem[14] , \dut.band_buffer.gen_distributed.mem[15] ;
  logic [127:0] memory;
  assign memory = {
    \dut.band_buffer.gen_distributed.mem[15] , \dut.band_buffer.gen_distributed.mem[14] ,
    \dut.band_buffer.gen_distributed.mem[13] , \dut.band_buffer.gen_distributed.mem[12] ,
    \dut.band_buffer.gen_distributed.mem[11] , \dut.band_buffer.gen_distributed.mem[10] ,
    \dut.band_buffer.gen_distributed.mem[9] , \dut.band_buffer.gen_distributed.mem[8] ,
    \dut.band_buffer.gen_distributed.mem[7] , \dut.band_buffer.gen_distributed.mem[6] ,
    \dut.band_buffer.gen_distributed.mem[5] , \dut.band_buffer.gen_distributed.mem[4] ,
    \dut.band_buffer.gen_distributed.mem[3] , \dut.band_buffer.gen_distributed.mem[2] ,
    \dut.band_buffer.gen_distributed.mem[1] , \dut.band_buffer.gen_distributed.mem[0] };

  // `issued`: the byte that is read next, as they leave; its band began `band` bytes after `came`.
  logic [4:0] issued, written, age;
  assign issued = gone[4:0] + 5'(held);
  assign written = came[4:0] - {issued[4:3], 3'd0};
  assign age = came[4:0] - followed_place;
  // Bytes of the band that must have come for those that were read: 0, 1, 4, 5, 2, 3, 6, 7 in turn.
  logic [4:0] needed;
  always_comb begin
    case (issued[2:0])
      3'd0, 3'd1, 3'd2: needed = 5'(issued[2:0]);
      3'd3: needed = 5'd5;
      3'd7: needed = 5'd7;
      default: needed = 5'd6;
    endcase
  end
  always_comb begin
    if (rst_n) begin
      assert (left[3:0] == gone[3:0]);
      assert (\dut.write_address == came[3:0]);
      assert (\dut.col_q == issued[2] && \dut.line_q == issued[1] && \dut.beat_q == issued[0]);
      assert (\dut.read_q == {issued[3], issued[1], issued[2], issued[0]});
      assert (written <= 5'd16 && 5'(\dut.bands.full_q ) == 5'(written[4:3]));
      assert (written >= needed);
      if (followed) begin
        assert (age >= 5'd1 && age <= 5'd24);
        assert (ahead < held || 5'(ahead - held) < 5'd16);
        if (ahead >= held) assert (memory[followed_place[3:0]*8+:8] == followed_beat && age <= written);
      end
    end
  end
`endif

endmodule
