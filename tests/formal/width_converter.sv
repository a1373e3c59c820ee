// The elements leave in the order in which they came, tlast with the last one of its beat. What is
// followed is a beat of the wider side.
module width_converter_properties #(
  parameter int IN_LANES  = 1,
  parameter int OUT_LANES = 3
) (
  input logic                 clk,
  input logic                 mark,
  input logic [IN_LANES-1:0]  s_tdata,
  input logic                 s_tvalid,
  input logic                 s_tlast,
  input logic                 m_tready
);

  localparam int WIDE = IN_LANES > OUT_LANES ? IN_LANES : OUT_LANES;
  localparam int NARROW = IN_LANES > OUT_LANES ? OUT_LANES : IN_LANES;
  localparam int UP = OUT_LANES > IN_LANES ? 1 : 0;
  logic rst_n, s_tready, m_tvalid, m_tlast, put, get, followed, last_phase;
  logic [OUT_LANES-1:0] m_tdata;
  logic [WIDE:0] put_beat, front, followed_beat;
  logic [7:0] held, ahead, phase;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  width_converter #(.IN_LANES(IN_LANES), .OUT_LANES(OUT_LANES), .BITS(1)) dut (
    .clk, .rst_n, .s_axis_tdata(s_tdata), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(s_tlast), .m_axis_tdata(m_tdata), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );
  stream_holds #(.WIDTH(IN_LANES + 1), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat({s_tlast, s_tdata})
  );
  stream_holds #(.WIDTH(OUT_LANES + 1)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .beat({m_tlast, m_tdata})
  );

  // `phase` counts the narrow beats of a wide one, first element lowest.
  index #(.MODULUS(WIDE / NARROW)) phases (
    .clk, .rst_n, .step(UP != 0 ? s_tvalid && s_tready : m_tvalid && m_tready), .count(phase)
  );
  assign last_phase = phase == WIDE / NARROW - 1;
  scoreboard #(.WIDTH(WIDE + 1), .CAPACITY(2), .PATIENCE(0)) order (
    .clk, .rst_n, .mark, .put, .put_beat, .offered(m_tvalid), .get, .front, .held, .followed,
    .ahead, .followed_beat
  );
  if (UP != 0) begin : gen_up
    logic [WIDE-1:0] collected_q, word;
    always_comb begin
      word = collected_q;
      word[phase*NARROW+:NARROW] = s_tdata;
    end
    always_ff @(posedge clk) if (s_tvalid && s_tready) collected_q <= word;
    assign put = s_tvalid && s_tready && last_phase;
    assign put_beat = {s_tlast, word};
    assign get = m_tvalid && m_tready;
    assign front = {m_tlast, m_tdata};
  end else begin : gen_down
    // The lanes that are not on the output now are those of the followed beat.
    assign put = s_tvalid && s_tready;
    assign put_beat = {s_tlast, s_tdata};
    assign get = m_tvalid && m_tready && last_phase;
    always_comb begin
      front = followed_beat;
      front[phase*NARROW+:NARROW] = m_tdata;
      if (last_phase) front[WIDE] = m_tlast;
      else front[WIDE] = followed_beat[WIDE] ^ m_tlast;
    end
  end

`ifdef INVARIANTS
  (* hierconn *) wire [$clog2(WIDE / NARROW)-1:0] \dut.phase_q ;
  (* hierconn *) wire \dut.gen_up.out.spare_valid_q , \dut.gen_down.entry.spare_valid_q ;
  (* hierconn *) wire [WIDE:0] \dut.gen_up.out.spare_q , \dut.gen_down.entry.spare_q ,
    \dut.gen_down.entry.m_axis_tdata ;
  (* hierconn *) wire [WIDE-NARROW-1:0] \dut.gen_up.kept_q ;
  logic spare_valid;
  logic [WIDE:0] spare;
  assign spare_valid = UP != 0 ? \dut.gen_up.out.spare_valid_q : \dut.gen_down.entry.spare_valid_q ;
  assign spare = UP != 0 ? \dut.gen_up.out.spare_q : \dut.gen_down.entry.spare_q ;
  always_comb begin
    if (rst_n) begin
      assert (8'(\dut.phase_q ) == phase);
      assert (held == 8'(m_tvalid) + 8'(spare_valid));
      assert (m_tvalid || !spare_valid);
      if (followed && ahead == 8'd1) assert (spare == followed_beat);
    end
  end
  if (UP != 0) begin : gen_kept
    // What was kept lies at the top, the newest element last.
    always_comb if (rst_n && phase != '0)
      assert (\dut.gen_up.kept_q >> (WIDE - NARROW - phase * NARROW)
        == (gen_up.collected_q & ((1 << (phase * NARROW)) - 1)));
  end else begin : gen_word
    always_comb if (rst_n && followed && m_tvalid && ahead == '0)
      assert (\dut.gen_down.entry.m_axis_tdata == followed_beat);
  end
`endif

endmodule
