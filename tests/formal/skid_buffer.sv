// Every beat leaves once, in order, unchanged; at most two are held.
module skid_buffer_properties #(
  parameter int WIDTH = 2
) (
  input logic             clk,
  input logic             mark,
  input logic [WIDTH-1:0] s_tdata,
  input logic             s_tvalid,
  input logic             m_tready
);

  logic rst_n, s_tready, m_tvalid, followed;
  logic [WIDTH-1:0] m_tdata, followed_beat;
  logic [7:0] held, ahead;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  skid_buffer #(.WIDTH(WIDTH)) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid), .m_axis_tready(m_tready)
  );
  stream_holds #(.WIDTH(WIDTH), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_tdata)
  );
  stream_holds #(.WIDTH(WIDTH)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .beat(m_tdata)
  );
  scoreboard #(.WIDTH(WIDTH), .CAPACITY(2), .PATIENCE(0)) order (
    .clk, .rst_n, .mark, .put(s_tvalid && s_tready), .put_beat(s_tdata), .offered(m_tvalid),
    .get(m_tvalid && m_tready), .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb if (rst_n) assert (s_tready == (held != 8'd2));

`ifdef INVARIANTS
  (* hierconn *) wire \dut.spare_valid_q ;
  (* hierconn *) wire [WIDTH-1:0] \dut.spare_q ;
  always_comb begin
    if (rst_n) begin
      assert (held == 8'(m_tvalid) + 8'(\dut.spare_valid_q ));
      assert (m_tvalid || !\dut.spare_valid_q );
      if (followed && ahead == 8'd1) assert (\dut.spare_q == followed_beat);
    end
  end
`endif

endmodule
