// One image from a stream of 4-byte beats in raster order, through a table for each colour, into bank 0 as
// patches: patch t from word t * stride on. `arm` takes the geometry; `ready` is high once all is written.
// Timing: one beat a cycle; the last word is in the bank 3 cycles after its beat.
module simd_image (
  input  logic         clk,
  input  logic         rst_n,
  input  logic         colours_write,
  input  logic [5:0]   colours_address,
  input  logic [127:0] colours_data,
  input  logic         arm,
  input  logic [5:0]   patch_beats,
  input  logic [5:0]   patch_lines,
  input  logic [7:0]   across,
  input  logic [7:0]   down,
  input  logic [7:0]   stride,
  input  logic [2:0]   colours,
  output logic         ready,
  input  logic [31:0]  s_axis_tdata,
  input  logic         s_axis_tvalid,
  output logic         s_axis_tready,
  output logic [3:0]   write,
  output logic [11:0]  write_address,
  output logic [31:0]  write_data
);

  logic busy_q, accept, end_patch, end_across, end_line, done_q, done_qq, done_qqq;
  logic [5:0] beats_q, lines_q, beat_q, line_q;
  logic [7:0] across_q, down_q, stride_q, column_q, row_q;
  logic [2:0] colours_q, phase_q;
  logic [11:0] quad_q, quad_line_q;  // of a patch: 4-byte pieces
  logic [11:0] patch_q, patch_row_q;  // first word of the patch, of the first patch in its row

  assign s_axis_tready = busy_q;
  assign accept = s_axis_tvalid && busy_q;
  assign end_patch = beat_q == beats_q - 1'b1;
  assign end_across = end_patch && column_q == across_q - 1'b1;
  assign end_line = end_across && line_q == lines_q - 1'b1;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      busy_q <= 1'b0;
      ready <= 1'b0;
      {done_q, done_qq, done_qqq} <= '0;
    end else begin
      done_q <= accept && end_line && row_q == down_q - 1'b1;
      {done_qq, done_qqq} <= {done_q, done_qq};
      if (done_qqq) ready <= 1'b1;
      if (arm) begin
        busy_q <= 1'b1;
        ready <= 1'b0;
      end else if (accept && end_line && row_q == down_q - 1'b1) busy_q <= 1'b0;
    end
    if (arm) begin
      {beats_q, lines_q, across_q, down_q, stride_q, colours_q} <= {patch_beats, patch_lines, across, down, stride, colours};
      {beat_q, line_q, column_q, row_q, phase_q, quad_q, quad_line_q, patch_q, patch_row_q} <= '0;
    end else if (accept) begin
      beat_q <= end_patch ? '0 : beat_q + 1'b1;
      quad_q <= end_patch ? quad_line_q : quad_q + 1'b1;
      patch_q <= end_patch ? patch_q + 12'(stride_q) : patch_q;
      phase_q <= 3'((4'(phase_q) + 4'd4) % 4'(colours_q));
      if (end_patch) column_q <= column_q + 1'b1;
      if (end_across) begin
        column_q <= '0;
        phase_q <= '0;
        patch_q <= patch_row_q;
        line_q <= line_q + 1'b1;
        quad_q <= quad_line_q + 12'(beats_q);
        quad_line_q <= quad_line_q + 12'(beats_q);
      end
      if (end_line) begin
        line_q <= '0;
        row_q <= row_q + 1'b1;
        quad_q <= '0;
        quad_line_q <= '0;
        patch_q <= patch_q + 12'(stride_q);
        patch_row_q <= patch_q + 12'(stride_q);
      end
    end
  end

  logic [3:0] low_q[4], low_qq[4];
  for (genvar b = 0; b < 4; b++) begin : gen_byte
    logic [2:0] colour;
    logic [127:0] row;
    assign colour = 3'((4'(phase_q) + 4'(b)) % 4'(colours_q));
    ram #(
      .WIDTH(128), .DEPTH(64)
    ) table_ram (
      .clk, .write(colours_write), .write_address(colours_address), .write_data(colours_data),
      .read_address({colour[1:0], s_axis_tdata[b*8+4+:4]}), .read_data(row)
    );
    always_ff @(posedge clk) {low_q[b], low_qq[b]} <= {s_axis_tdata[b*8+:4], low_q[b]};
    assign write_data[b*8+:8] = row[{low_qq[b], 3'd0}+:8];
    wire unused = colour[2];
  end

  logic [3:0] write_q;
  logic [11:0] address_q;
  always_ff @(posedge clk) begin
    write_q <= accept ? 4'b1 << quad_q[1:0] : 4'b0;
    address_q <= patch_q + 12'(quad_q[11:2]);
    write <= write_q;
    write_address <= address_q;
  end

endmodule
