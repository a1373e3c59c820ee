// Items are taken, GROUP at once, while there is room and pushed any time later, or in the same
// cycle: every one leaves once, in order, unchanged, with tlast on every BEATS-th; the credits never
// overflow, and an empty buffer has room.
module output_buffer_properties #(
  parameter int WIDTH = 2,
  parameter int BEATS = 3,
  parameter int GROUP = 1
) (
  input logic             clk,
  input logic             mark,
  input logic             take,
  input logic             push,
  input logic [WIDTH-1:0] push_data,
  input logic             m_tready
);

  localparam int DEPTH = 3;
  logic rst_n, room, m_tvalid, m_tlast, followed;
  logic [WIDTH-1:0] m_tdata, followed_beat;
  logic [7:0] held, ahead, left, in_flight;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  output_buffer #(.WIDTH(WIDTH), .DEPTH(DEPTH), .BEATS(BEATS), .GROUP(GROUP)) dut (
    .clk, .rst_n, .take, .room, .push, .push_data, .m_axis_tdata(m_tdata),
    .m_axis_tvalid(m_tvalid), .m_axis_tready(m_tready), .m_axis_tlast(m_tlast)
  );

  // The pipeline before it: takes only where there is room, pushes only what it took.
  always_ff @(posedge clk) in_flight <= rst_n ? in_flight + (take ? 8'(GROUP) : 8'd0) - 8'(push) : '0;
  always_comb begin
    if (take) assume (room);
    if (push) assume (take || in_flight != '0);
  end

  stream_output #(.WIDTH(WIDTH), .BEATS(BEATS)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .tlast(m_tlast), .tdata(m_tdata), .left
  );
  scoreboard #(.WIDTH(WIDTH), .CAPACITY(DEPTH + 1), .PATIENCE(1)) order (
    .clk, .rst_n, .mark, .put(push), .put_beat(push_data), .offered(m_tvalid),
    .get(m_tvalid && m_tready), .front(m_tdata), .held, .followed, .ahead, .followed_beat
  );
  always_comb begin
    if (rst_n) begin
      assert (in_flight + held <= 8'(DEPTH + 1));
      if (in_flight + held <= 8'(DEPTH - GROUP)) assert (room);
    end
  end

  (* hierconn *) wire [1:0] \dut.taken_q , \dut.stored_q , \dut.write_q , \dut.read_q , \dut.beat_q ;
  (* hierconn *) wire [WIDTH-1:0] \dut.mem[0] , \dut.mem[1] , \dut.mem[2] ;
  output_buffer_invariants #(.WIDTH(WIDTH), .DEPTH(DEPTH), .BEATS(BEATS)) state (
    .rst_n, .taken(8'(\dut.taken_q )), .stored(8'(\dut.stored_q )), .write(8'(\dut.write_q )),
    .read(8'(\dut.read_q )), .beat(8'(\dut.beat_q )),
    .memory({\dut.mem[2] , \dut.mem[1] , \dut.mem[0] }), .tvalid(m_tvalid), .tdata(m_tdata),
    .left, .in_flight, .followed, .ahead, .followed_beat
  );
`ifdef INVARIANTS
  always_comb if (rst_n) assert (held == 8'(\dut.stored_q ) + 8'(m_tvalid));
`endif

endmodule
