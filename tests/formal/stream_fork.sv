// Every beat leaves once on each branch, in order, with its tlast; a branch waits for the other
// only when that one holds two beats.
module stream_fork_properties (
  input logic       clk,
  input logic       mark,
  input logic [1:0] s_beat,
  input logic       s_tvalid,
  input logic       a_tready,
  input logic       b_tready
);

  logic rst_n, s_tready, put;
  logic [1:0] tvalid, tready, followed;
  logic [1:0] a_beat, b_beat;
  logic [3:0] beats, followed_beats;
  logic [15:0] held, ahead;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;
  assign put = s_tvalid && s_tready;
  assign tready = {b_tready, a_tready};
  assign beats = {b_beat, a_beat};

  stream_fork #(.PE(1), .BITS(1)) dut (
    .clk, .rst_n, .s_axis_tdata(s_beat[0]), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(s_beat[1]),
    .m_axis_a_tdata(a_beat[0]), .m_axis_a_tvalid(tvalid[0]), .m_axis_a_tready(a_tready),
    .m_axis_a_tlast(a_beat[1]),
    .m_axis_b_tdata(b_beat[0]), .m_axis_b_tvalid(tvalid[1]), .m_axis_b_tready(b_tready),
    .m_axis_b_tlast(b_beat[1])
  );
  stream_holds #(.WIDTH(2), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_beat)
  );
  for (genvar i = 0; i < 2; i++) begin : gen_branch
    stream_holds #(.WIDTH(2)) sink (
      .clk, .rst_n, .tvalid(tvalid[i]), .tready(tready[i]), .beat(beats[2*i+:2])
    );
    scoreboard #(.WIDTH(2), .CAPACITY(2), .PATIENCE(0)) order (
      .clk, .rst_n, .mark, .put, .put_beat(s_beat), .offered(tvalid[i]),
      .get(tvalid[i] && tready[i]), .front(beats[2*i+:2]), .held(held[8*i+:8]),
      .followed(followed[i]), .ahead(ahead[8*i+:8]), .followed_beat(followed_beats[2*i+:2])
    );
  end
  always_comb if (rst_n) assert (s_tready == (held[7:0] != 8'd2 && held[15:8] != 8'd2));

`ifdef INVARIANTS
  (* hierconn *) wire \dut.branch_a.spare_valid_q , \dut.branch_b.spare_valid_q ;
  (* hierconn *) wire [1:0] \dut.branch_a.spare_q , \dut.branch_b.spare_q ;
  logic [1:0] spare_valid;
  logic [3:0] spare;
  assign spare_valid = {\dut.branch_b.spare_valid_q , \dut.branch_a.spare_valid_q };
  assign spare = {\dut.branch_b.spare_q , \dut.branch_a.spare_q };
  for (genvar i = 0; i < 2; i++) begin : gen_invariant
    always_comb begin
      if (rst_n) begin
        assert (held[8*i+:8] == 8'(tvalid[i]) + 8'(spare_valid[i]));
        assert (tvalid[i] || !spare_valid[i]);
        if (followed[i] && ahead[8*i+:8] == 8'd1) assert (spare[2*i+:2] == followed_beats[2*i+:2]);
      end
    end
  end
`endif

endmodule
