// Logits of tiles, up to 16 at a time, leave one a beat once SEND has asked for so many; TLAST on the last of a SEND.
// `send_ready`: the logits of the SEND before have left, so that never more than two images' logits wait.
// Timing: one a cycle. Memory: DEPTH words of 16 logits.
module simd_output #(
  parameter int DEPTH = 128
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic         write,
  input  logic [4:0]   count,
  input  logic [511:0] data,
  input  logic         send,
  output logic         send_ready,
  input  logic [9:0]   send_count,
  output logic [31:0]  m_axis_tdata,
  output logic         m_axis_tvalid,
  input  logic         m_axis_tready,
  output logic         m_axis_tlast
);

  localparam int BITS = $clog2(DEPTH);
  logic [516:0] mem[DEPTH];
  logic [BITS:0] write_q, read_q;
  logic [511:0] held_q;
  logic [4:0] held_left_q;
  logic [9:0] send_left_q;
  logic fetch, move;

  assign send_ready = send_left_q == '0;
  assign fetch = held_left_q == '0 && write_q != read_q;
  assign move = held_left_q != '0 && send_left_q != '0 && (m_axis_tready || !m_axis_tvalid);
  always_ff @(posedge clk) begin
    if (write) mem[write_q[BITS-1:0]] <= {count, data};
    if (fetch) held_q <= mem[read_q[BITS-1:0]][511:0];
    else if (move) held_q <= held_q >> 32;
    if (move) m_axis_tdata <= held_q[31:0];
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {write_q, read_q, held_left_q, send_left_q} <= '0;
      {m_axis_tvalid, m_axis_tlast} <= '0;
    end else begin
      if (write) write_q <= write_q + 1'b1;
      if (send) send_left_q <= send_count;
      if (fetch) begin
        read_q <= read_q + 1'b1;
        held_left_q <= mem[read_q[BITS-1:0]][516:512];
      end
      if (m_axis_tready) m_axis_tvalid <= 1'b0;
      if (move) begin
        held_left_q <= held_left_q - 1'b1;
        m_axis_tvalid <= 1'b1;
        m_axis_tlast <= send_left_q == 10'd1;
        send_left_q <= send_left_q - 1'b1;
      end
    end
  end

endmodule
