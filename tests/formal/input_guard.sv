// Whatever the host sends, images of BEATS beats leave: those of the host, then zeros where tlast came
// early, and what is beyond the last until tlast is dropped. The reference reads the host's beats one
// by one: no beat is lost, and none is made up but zeros.
module input_guard_properties #(
  parameter int BEATS = 3
) (
  input logic       clk,
  input logic       mark,
  input logic       ignore_tlast,
  input logic [1:0] s_tdata,
  input logic       s_tvalid,
  input logic       s_tlast,
  input logic       m_tready
);

  logic rst_n, s_tready, m_tvalid, m_tlast, followed;
  logic image_in, short_image, long_image;
  logic [1:0] m_tdata, followed_beat;
  logic [7:0] held, ahead, left;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  input_guard #(.WIDTH(2), .BEATS(BEATS)) dut (
    .clk, .rst_n, .ignore_tlast, .image_in, .short_image, .long_image, .s_axis_tdata(s_tdata),
    .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready), .s_axis_tlast(s_tlast),
    .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid), .m_axis_tready(m_tready),
    .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(3), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat({s_tlast, s_tdata})
  );
  stream_output #(.WIDTH(2), .BEATS(BEATS)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );

  // `place`: of the next beat in its image. While `filling`, zeros go in when there is a place
  // for them; while `dropping`, beats of the host go nowhere.
  logic filling, dropping, take, put, fills, image_ends;
  logic [7:0] place;
  assign take = s_tvalid && s_tready;
  assign fills = filling && held < 8'd2;
  assign put = (take && !dropping) || fills;
  assign image_ends = put && place == 8'(BEATS - 1);
  index #(.MODULUS(BEATS)) places (.clk, .rst_n, .step(put), .count(place));
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      filling <= 1'b0;
      dropping <= 1'b0;
    end else begin
      filling <= !image_ends && (filling || (take && !dropping && s_tlast && !ignore_tlast));
      dropping <= !ignore_tlast && (dropping ? !(take && s_tlast) : take && image_ends && !s_tlast);
    end
  end
  scoreboard #(.WIDTH(2), .CAPACITY(2), .PATIENCE(0)) order (
    .clk, .rst_n, .mark, .put, .put_beat(filling ? 2'd0 : s_tdata), .offered(m_tvalid),
    .get(m_tvalid && m_tready), .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );

  // The events are counted a cycle later.
  logic image_q, short_q, long_q;
  always_ff @(posedge clk) begin
    image_q <= rst_n && image_ends;
    short_q <= rst_n && take && !dropping && s_tlast && !ignore_tlast && !image_ends;
    long_q <= rst_n && take && !dropping && !s_tlast && !ignore_tlast && image_ends;
  end
  always_comb begin
    if (rst_n) begin
      assert (s_tready == (dropping || (held < 8'd2 && !filling)));
      assert ({image_in, short_image, long_image} == {image_q, short_q, long_q});
    end
  end

`ifdef INVARIANTS
  (* hierconn *) wire \dut.fill_q , \dut.drop_q , \dut.out.spare_valid_q ;
  (* hierconn *) wire [1:0] \dut.beat_q ;
  (* hierconn *) wire [2:0] \dut.out.spare_q ;
  always_comb begin
    if (rst_n) begin
      assert (\dut.fill_q == filling && \dut.drop_q == dropping && 8'(\dut.beat_q ) == place);
      assert (!(filling && dropping));
      assert (held == 8'(m_tvalid) + 8'(\dut.out.spare_valid_q ));
      assert (m_tvalid || !\dut.out.spare_valid_q );
      if (followed && ahead == 8'd1) assert (\dut.out.spare_q [1:0] == followed_beat);
      // tlast goes with the last beat of an image, counted from what left.
      assert (8'(place) == (left + held >= 8'(BEATS) ? left + held - 8'(BEATS) : left + held));
      if (\dut.out.spare_valid_q ) assert (\dut.out.spare_q [2] == (left == 8'(BEATS - 2)));
    end
  end
`endif

endmodule
