// The program as a stream of 16-byte words: bytes 0 to length-1 from `base` on, then loop to length-1
// again and again. Bursts of at most 16 words, none across 256 bytes of the program (base: a multiple of 4096).
// Timing: one word a cycle; asks ahead for as many words as the FIFO has room for.
module simd_fetch #(
  parameter int DEPTH = 512
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic [31:0]  base,
  input  logic [23:0]  length,
  input  logic [23:0]  loop_at,
  output logic [31:0]  m_axi_araddr,
  output logic [7:0]   m_axi_arlen,
  output logic         m_axi_arvalid,
  input  logic         m_axi_arready,
  input  logic [127:0] m_axi_rdata,
  input  logic         m_axi_rvalid,
  output logic         m_axi_rready,
  output logic [127:0] word,
  output logic         word_valid,
  input  logic         word_ready
);

  localparam int BITS = $clog2(DEPTH + 1);
  logic [19:0] at_q, left;
  logic [4:0] burst, whole;
  logic [BITS-1:0] room_q;
  logic take, unused_last, unused_ready;

  assign left = length[23:4] - at_q;
  assign whole = 5'd16 - {1'b0, at_q[3:0]};
  assign burst = left < 20'(whole) ? left[4:0] : whole;
  assign take = word_valid && word_ready;
  assign m_axi_rready = 1'b1;  // asked only for what has room

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      at_q <= '0;
      room_q <= BITS'(DEPTH);
      m_axi_arvalid <= 1'b0;
      m_axi_araddr <= '0;
      m_axi_arlen <= '0;
    end else begin
      if (m_axi_arready) m_axi_arvalid <= 1'b0;
      if ((!m_axi_arvalid || m_axi_arready) && room_q >= BITS'(16)) begin
        m_axi_arvalid <= 1'b1;
        m_axi_araddr <= base + {8'd0, at_q, 4'd0};
        m_axi_arlen <= 8'(burst) - 1'b1;
        at_q <= at_q + 20'(burst) == length[23:4] ? loop_at[23:4] : at_q + 20'(burst);
        room_q <= room_q - BITS'(burst) + BITS'(take);
      end else begin
        room_q <= room_q + BITS'(take);
      end
    end
  end

  fifo #(
    .PE(1), .BITS(128), .DEPTH(DEPTH)
  ) words (
    .clk, .rst_n, .s_axis_tdata(m_axi_rdata), .s_axis_tvalid(m_axi_rvalid), .s_axis_tready(unused_ready),
    .s_axis_tlast(1'b0), .m_axis_tdata(word), .m_axis_tvalid(word_valid), .m_axis_tready(word_ready),
    .m_axis_tlast(unused_last)
  );
  wire unused = &{1'b0, unused_last, unused_ready, length[3:0], loop_at[3:0]};

endmodule
