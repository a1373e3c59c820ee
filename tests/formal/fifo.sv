// Every beat leaves once, in order, with its tlast; at least DEPTH beats fit, and a beat that is
// held is offered within PATIENCE cycles, whatever became of the ones before it.
module fifo_properties #(
  parameter int DEPTH    = 3,
  parameter int LARGE    = 0,
  parameter int PATIENCE = LARGE != 0 ? 4 : 1
) (
  input logic       clk,
  input logic       mark,
  input logic [1:0] s_beat,
  input logic       s_tvalid,
  input logic       m_tready
);

  localparam int PLACES = LARGE != 0 ? DEPTH + 5 : DEPTH + 1;
  logic rst_n, s_tready, m_tvalid, put, get, followed;
  logic [1:0] m_beat, followed_beat;
  logic [7:0] held, ahead, in_flight;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;
  assign put = s_tvalid && s_tready;
  assign get = m_tvalid && m_tready;

  fifo #(.PE(1), .BITS(1), .DEPTH(DEPTH)) dut (
    .clk, .rst_n, .s_axis_tdata(s_beat[0]), .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready),
    .s_axis_tlast(s_beat[1]), .m_axis_tdata(m_beat[0]), .m_axis_tvalid(m_tvalid),
    .m_axis_tready(m_tready), .m_axis_tlast(m_beat[1])
  );
  stream_holds #(.WIDTH(2), .ASSUMED(1)) source (
    .clk, .rst_n, .tvalid(s_tvalid), .tready(s_tready), .beat(s_beat)
  );
  stream_holds #(.WIDTH(2)) sink (
    .clk, .rst_n, .tvalid(m_tvalid), .tready(m_tready), .beat(m_beat)
  );
  scoreboard #(.WIDTH(2), .CAPACITY(PLACES), .PATIENCE(PATIENCE)) order (
    .clk, .rst_n, .mark, .put, .put_beat(s_beat), .offered(m_tvalid), .get, .front(m_beat),
    .held, .followed, .ahead, .followed_beat
  );
  always_comb if (rst_n && held < 8'(DEPTH)) assert (s_tready);

`ifdef INVARIANTS
  (* hierconn *) wire [1:0] \dut.gen_small.out.taken_q , \dut.gen_small.out.stored_q ,
    \dut.gen_small.out.write_q , \dut.gen_small.out.read_q , \dut.gen_small.out.mem[0] ,
    \dut.gen_small.out.mem[1] , \dut.gen_small.out.mem[2] ;
  (* hierconn *) wire [2:0] \dut.gen_large.out.taken_q , \dut.gen_large.out.stored_q ;
  (* hierconn *) wire [1:0] \dut.gen_large.out.write_q , \dut.gen_large.out.read_q ,
    \dut.gen_large.out.mem[0] , \dut.gen_large.out.mem[1] , \dut.gen_large.out.mem[2] ,
    \dut.gen_large.out.mem[3] ;
  (* hierconn *) wire [1:0] \dut.gen_large.valid_delay.gen_registers.stages_q , \dut.gen_large.stored_q ,
    \dut.gen_large.write_q , \dut.gen_large.read_q , \dut.gen_large.memory.gen_distributed.mem[0] ,
    \dut.gen_large.memory.gen_distributed.mem[1] , \dut.gen_large.memory.gen_distributed.mem[2] ;
  logic [7:0] place;
  logic [5:0] memory;

  if (LARGE != 0) begin : gen_large
    // The memory, two registers behind it, the output buffer.
    assign in_flight = 8'(\dut.gen_large.valid_delay.gen_registers.stages_q [0])
                     + 8'(\dut.gen_large.valid_delay.gen_registers.stages_q [1]);
    assign place = 8'(\dut.gen_large.read_q ) + ahead - 8'(m_tvalid) - 8'(\dut.gen_large.out.taken_q );
    assign memory = {
      \dut.gen_large.memory.gen_distributed.mem[2] , \dut.gen_large.memory.gen_distributed.mem[1] ,
      \dut.gen_large.memory.gen_distributed.mem[0] };
    always_comb begin
      if (rst_n) begin
        assert (held == 8'(\dut.gen_large.stored_q ) + 8'(\dut.gen_large.out.taken_q ) + 8'(m_tvalid));
        assert (\dut.gen_large.write_q < DEPTH && \dut.gen_large.read_q < DEPTH);
        assert (8'(\dut.gen_large.read_q ) + 8'(\dut.gen_large.stored_q ) == 8'(\dut.gen_large.write_q )
          || 8'(\dut.gen_large.read_q ) + 8'(\dut.gen_large.stored_q ) == 8'(\dut.gen_large.write_q ) + DEPTH);
        if (followed && ahead >= 8'(\dut.gen_large.out.taken_q ) + 8'(m_tvalid))
          assert (memory[2*(place >= DEPTH ? place - DEPTH : place)+:2] == followed_beat);
      end
    end
    output_buffer_invariants #(.WIDTH(2), .DEPTH(4)) state (
      .rst_n, .taken(8'(\dut.gen_large.out.taken_q )), .stored(8'(\dut.gen_large.out.stored_q )),
      .write(8'(\dut.gen_large.out.write_q )), .read(8'(\dut.gen_large.out.read_q )), .beat(8'd0),
      .memory({\dut.gen_large.out.mem[3] , \dut.gen_large.out.mem[2] , \dut.gen_large.out.mem[1] ,
               \dut.gen_large.out.mem[0] }),
      .tvalid(m_tvalid), .tdata(m_beat), .left(8'd0), .in_flight, .followed, .ahead, .followed_beat
    );
  end else begin : gen_small
    assign in_flight = '0;
    always_comb if (rst_n) assert (held == 8'(\dut.gen_small.out.stored_q ) + 8'(m_tvalid));
    output_buffer_invariants #(.WIDTH(2), .DEPTH(DEPTH)) state (
      .rst_n, .taken(8'(\dut.gen_small.out.taken_q )), .stored(8'(\dut.gen_small.out.stored_q )),
      .write(8'(\dut.gen_small.out.write_q )), .read(8'(\dut.gen_small.out.read_q )), .beat(8'd0),
      .memory({\dut.gen_small.out.mem[2] , \dut.gen_small.out.mem[1] , \dut.gen_small.out.mem[0] }),
      .tvalid(m_tvalid), .tdata(m_beat), .left(8'd0), .in_flight, .followed, .ahead, .followed_beat
    );
  end
`endif

endmodule
