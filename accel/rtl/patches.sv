// Raster order to patches: x [H][W][F] bytes -> y [(H/P)*(W/P)][P*P*F]; patches row by row, in a
// patch the pixels row by row, the F bytes of a pixel together. PE bytes in a beat, in and out.
// Timing: a beat leaves 5 cycles after it came, or one after the beat before it, whichever is later:
// a patch is under way while its last line still comes. H*W*F/PE cycles an image, bands of P lines
// and images without a bubble between them.
// Memory: two bands of P*W*F/PE words of PE bytes, in raster order.
module patches #(
  parameter int H  = 32,
  parameter int W  = 32,
  parameter int F  = 3,
  parameter int P  = 4,
  parameter int PE = 1
) (
  input  logic            clk,
  input  logic            rst_n,
  input  logic [PE*8-1:0] s_axis_tdata,
  input  logic            s_axis_tvalid,
  output logic            s_axis_tready,
  input  logic            s_axis_tlast,
  output logic [PE*8-1:0] m_axis_tdata,
  output logic            m_axis_tvalid,
  input  logic            m_axis_tready,
  output logic            m_axis_tlast
);

  localparam int SEGMENT = P * F / PE;
  localparam int LINE = W * F / PE;
  localparam int BAND = P * LINE;
  localparam int COLS = W / P;
  localparam int ADDRESS_BITS = $clog2(2 * BAND);
  localparam int SEGMENT_BITS = SEGMENT > 1 ? $clog2(SEGMENT) : 1;
  localparam int LINE_BITS = P > 1 ? $clog2(P) : 1;
  localparam int COL_BITS = COLS > 1 ? $clog2(COLS) : 1;

  if (P * F % PE != 0 || H % P != 0 || W % P != 0) begin : gen_check_folding
    patches_PE_must_divide_P_times_F_and_P_must_divide_H_and_W check ();
  end
  wire unused = s_axis_tlast;

  logic write, band_ready, issue, room, push, last_beat, last_line, last_col, band_done;
  logic [ADDRESS_BITS-1:0] write_address, read_q, step;
  logic [SEGMENT_BITS-1:0] beat_q;
  logic [LINE_BITS-1:0] line_q;
  logic [COL_BITS-1:0] col_q;

  ping_pong #(
    .BEATS(BAND)
  ) bands (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .write, .write_address,
    .ready(band_ready), .read_done(band_done)
  );

  // In a band that is not whole yet, what lies below the next write is there.
  assign issue = (band_ready || read_q < write_address) && room;
  assign last_beat = beat_q == SEGMENT_BITS'(SEGMENT - 1);
  assign last_line = line_q == LINE_BITS'(P - 1);
  assign last_col = col_q == COL_BITS'(COLS - 1);
  assign band_done = issue && last_beat && last_line && last_col;

  // To the next byte, the next line of the patch, or the first line of the next patch.
  assign step = !last_beat || (last_line && last_col) ? ADDRESS_BITS'(1) :
                !last_line ? ADDRESS_BITS'(LINE - SEGMENT + 1) : ADDRESS_BITS'(1 - (P - 1) * LINE);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      beat_q <= '0;
      line_q <= '0;
      col_q <= '0;
      read_q <= '0;
    end else if (issue) begin
      read_q <= read_q == ADDRESS_BITS'(2 * BAND - 1) ? '0 : read_q + step;
      beat_q <= last_beat ? '0 : beat_q + 1'b1;
      if (last_beat) begin
        line_q <= last_line ? '0 : line_q + 1'b1;
        if (last_line) col_q <= last_col ? '0 : col_q + 1'b1;
      end
    end
  end

  logic [PE*8-1:0] word;
  ram #(
    .WIDTH(PE * 8), .DEPTH(2 * BAND)
  ) band_buffer (
    .clk, .write, .write_address, .write_data(s_axis_tdata),
    .read_address(read_q), .read_data(word)
  );
  delay #(
    .STAGES(2)
  ) valid_delay (
    .clk, .rst_n, .x(issue), .y(push)
  );
  output_buffer #(
    .WIDTH(PE * 8), .BEATS(H * W * F / PE)
  ) out (
    .clk, .rst_n, .take(issue), .room, .push, .push_data(word),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
