// y[t][m] = requant(sum_k weight[m][k] * x[t][k] + bias[m], shift[m]), int8 in; int8 out, or the
// int32 accumulator with REQUANT = 0. SIMD columns in a beat, PE rows out a beat.
// Timing: a row of K takes (M/PE) * (K/SIMD) cycles and rows follow each other without a bubble
// (the next row is collected while this one is computed); latency from the last beat of a row to
// its first output beat: K/SIMD + TREE + 9, TREE = (ceil(log2(SIMD)) + 1) / 2; 3 less for int32.
// Memory: WEIGHT_FILE (M/PE)*(K/SIMD) words, word f*(K/SIMD) + j holds lane p*SIMD + s =
// weight[f*PE+p][j*SIMD+s]; PARAM_FILE M/PE words, lane p = {shift - SHIFT_BASE, bias} of row
// f*PE+p; two rows of activations.
module mat_vec #(
  parameter int K          = 96,
  parameter int M          = 96,
  parameter int TOKENS     = 64,
  parameter int PE         = 1,
  parameter int SIMD       = 12,
  parameter int ACC_BITS   = 24,
  parameter int BIAS_BITS  = 16,
  parameter int SHIFT_BASE = 0,
  parameter int SHIFT_BITS = 5,
  parameter int REQUANT    = 1,
  parameter int HALF_UP    = 0,
  parameter int LO         = -128,
  parameter int HI         = 127,
  parameter WEIGHT_FILE    = "",
  parameter PARAM_FILE     = "",
  parameter int OUT_BITS   = REQUANT != 0 ? 8 : 32
) (
  input  logic                   clk,
  input  logic                   rst_n,
  input  logic [SIMD*8-1:0]      s_axis_tdata,
  input  logic                   s_axis_tvalid,
  output logic                   s_axis_tready,
  input  logic                   s_axis_tlast,
  output logic [PE*OUT_BITS-1:0] m_axis_tdata,
  output logic                   m_axis_tvalid,
  input  logic                   m_axis_tready,
  output logic                   m_axis_tlast
);

  localparam int COLS = K / SIMD;
  localparam int ROWS = M / PE;
  localparam int WORDS = ROWS * COLS;
  localparam int PARAM_BITS = BIAS_BITS + SHIFT_BITS;
  localparam int TREE = ($clog2(SIMD) + 1) / 2;
  localparam int STAGES = 2 + TREE + 2 + (REQUANT != 0 ? 3 : 0);
  localparam int COL_BITS = COLS > 1 ? $clog2(COLS) : 1;
  localparam int ROW_BITS = ROWS > 1 ? $clog2(ROWS) : 1;
  localparam int WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int X_BITS = $clog2(2 * COLS);

  if (K % SIMD != 0 || M % PE != 0) begin : gen_check_folding
    mat_vec_SIMD_must_divide_K_and_PE_must_divide_M check ();
  end
  wire unused = s_axis_tlast;

  // Collect a row, issue one word of it and of the weights a cycle.
  logic write, row_ready, room, issue, last_col, last_row, row_done, half_q;
  logic [X_BITS-1:0] write_address, x_address;
  logic [COL_BITS-1:0] col_q;
  logic [ROW_BITS-1:0] row_q;
  logic [WORD_BITS-1:0] word_q;

  ping_pong #(
    .BEATS(COLS)
  ) rows (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .write, .write_address,
    .ready(row_ready), .read_done(row_done)
  );

  assign issue = row_ready && (room || col_q != '0);
  assign last_col = col_q == COL_BITS'(COLS - 1);
  assign last_row = row_q == ROW_BITS'(ROWS - 1);
  assign row_done = issue && last_col && last_row;
  assign x_address = X_BITS'(col_q) + (half_q ? X_BITS'(COLS) : '0);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      col_q <= '0;
      row_q <= '0;
      word_q <= '0;
      half_q <= 1'b0;
    end else if (issue) begin
      col_q <= last_col ? '0 : col_q + 1'b1;
      if (last_col) row_q <= last_row ? '0 : row_q + 1'b1;
      word_q <= row_done ? '0 : word_q + 1'b1;
      half_q <= half_q ^ row_done;
    end
  end

  // Memories; biases and shifts are read when the sum reaches the accumulator.
  logic [SIMD*8-1:0] x;
  logic [PE*SIMD*8-1:0] weights;
  logic [PE*PARAM_BITS-1:0] params;
  logic [ROW_BITS-1:0] param_row;
  logic first, push;

  ram #(
    .WIDTH(SIMD * 8), .DEPTH(2 * COLS)
  ) row_buffer (
    .clk, .write, .write_address, .write_data(s_axis_tdata), .read_address(x_address), .read_data(x)
  );
  rom #(
    .WIDTH(PE * SIMD * 8), .DEPTH(WORDS), .FILE(WEIGHT_FILE)
  ) weight_rom (
    .clk, .address(word_q), .data(weights)
  );
  delay #(
    .WIDTH(ROW_BITS), .STAGES(TREE + 1)
  ) row_delay (
    .clk, .rst_n, .x(row_q), .y(param_row)
  );
  rom #(
    .WIDTH(PE * PARAM_BITS), .DEPTH(ROWS), .FILE(PARAM_FILE)
  ) param_rom (
    .clk, .address(param_row), .data(params)
  );
  delay #(
    .STAGES(2)
  ) first_delay (
    .clk, .rst_n, .x(col_q == '0), .y(first)
  );
  delay #(
    .STAGES(STAGES)
  ) valid_delay (
    .clk, .rst_n, .x(issue && last_col), .y(push)
  );

  logic [PE*OUT_BITS-1:0] results;
  for (genvar p = 0; p < PE; p++) begin : gen_row
    dot_product #(
      .SIMD(SIMD), .ACC_BITS(ACC_BITS), .BIAS_BITS(BIAS_BITS), .SHIFT_BASE(SHIFT_BASE),
      .SHIFT_BITS(SHIFT_BITS), .REQUANT(REQUANT), .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) dot (
      .clk, .rst_n, .first, .weights(weights[p*SIMD*8+:SIMD*8]), .activations(x),
      .bias(params[p*PARAM_BITS+:BIAS_BITS]),
      .shift(params[p*PARAM_BITS+BIAS_BITS+:SHIFT_BITS]),
      .result(results[p*OUT_BITS+:OUT_BITS])
    );
  end

  output_buffer #(
    .WIDTH(PE * OUT_BITS), .BEATS(TOKENS * ROWS)
  ) out (
    .clk, .rst_n, .take(issue && col_q == '0), .room, .push, .push_data(results),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
