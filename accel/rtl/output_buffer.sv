// The end of a free-running pipeline: a small FIFO with credits, and the m_axis port.
// `room` says that GROUP more items may enter the pipeline, `take` that they do; they arrive later,
// a `push` each, and always find a place. DEPTH of latency + 2 or more gives II 1.
// m_axis_tlast marks every BEATS-th beat.
// Timing: II 1, latency 2 from push to m_axis_tvalid.
// Memory: DEPTH words of WIDTH bits of distributed RAM, beside the output register.
module output_buffer #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 16,
  parameter int BEATS = 1,
  parameter int GROUP = 1
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             take,
  output logic             room,
  input  logic             push,
  input  logic [WIDTH-1:0] push_data,
  output logic [WIDTH-1:0] m_axis_tdata,
  output logic             m_axis_tvalid,
  input  logic             m_axis_tready,
  output logic             m_axis_tlast
);

  localparam int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int COUNT_BITS = $clog2(DEPTH + 1);
  localparam int BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam logic [ADDRESS_BITS-1:0] LAST_ADDRESS = ADDRESS_BITS'(DEPTH - 1);

  (* ram_style = "distributed", no_rw_check *)logic [WIDTH-1:0] mem[DEPTH];
  logic [ADDRESS_BITS-1:0] write_q, read_q;
  logic [COUNT_BITS-1:0] stored_q, taken_q;
  logic [BEAT_BITS-1:0] beat_q;
  logic pop, last_beat;

  assign room = taken_q <= COUNT_BITS'(DEPTH - GROUP);
  assign pop = stored_q != '0 && (m_axis_tready || !m_axis_tvalid);
  assign last_beat = beat_q == BEAT_BITS'(BEATS - 1);

  always_ff @(posedge clk) begin
    if (push) mem[write_q] <= push_data;
    if (pop) m_axis_tdata <= mem[read_q];
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      write_q <= '0;
      read_q <= '0;
      stored_q <= '0;
      taken_q <= '0;
      beat_q <= '0;
      m_axis_tvalid <= 1'b0;
      m_axis_tlast <= 1'b0;
    end else begin
      stored_q <= stored_q + COUNT_BITS'(push) - COUNT_BITS'(pop);
      taken_q <= taken_q + (take ? COUNT_BITS'(GROUP) : '0) - COUNT_BITS'(pop);
      if (push) write_q <= write_q == LAST_ADDRESS ? '0 : write_q + 1'b1;
      if (m_axis_tready) m_axis_tvalid <= 1'b0;
      if (pop) begin
        read_q <= read_q == LAST_ADDRESS ? '0 : read_q + 1'b1;
        beat_q <= last_beat ? '0 : beat_q + 1'b1;
        m_axis_tvalid <= 1'b1;
        m_axis_tlast <= last_beat;
      end
    end
  end

endmodule
