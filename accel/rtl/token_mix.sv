// y[u][c] = requant(sum_t weight[u][t] * x[t][c] + bias[u], shift[u]), int8; PE channels in a
// beat, in and out; SIMD tokens of a channel are multiplied a cycle.
// Timing: an image takes (U*C/PE) * (T/SIMD) cycles, and the next image is collected meanwhile;
// latency from its last beat to the first output beat: T/SIMD + TREE + 9,
// TREE = (ceil(log2(SIMD)) + 1) / 2. Outputs: token u outer, channel inner.
// Memory: two images in SIMD banks of PE bytes, token t in bank t % SIMD at address
// (t / SIMD)*(C/PE) + channel fold; WEIGHT_FILE U*(T/SIMD) words, word u*(T/SIMD) + j holds lane
// s = weight[u][j*SIMD+s]; PARAM_FILE U words {shift - SHIFT_BASE, bias}.
module token_mix #(
  parameter int C          = 96,
  parameter int T          = 64,
  parameter int U          = 64,
  parameter int PE         = 1,
  parameter int SIMD       = 8,
  parameter int ACC_BITS   = 24,
  parameter int BIAS_BITS  = 16,
  parameter int SHIFT_BASE = 0,
  parameter int SHIFT_BITS = 5,
  parameter int HALF_UP    = 0,
  parameter int LO         = -128,
  parameter int HI         = 127,
  parameter WEIGHT_FILE    = "",
  parameter PARAM_FILE     = ""
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

  localparam int FOLDS = C / PE;
  localparam int STEPS = T / SIMD;
  localparam int DEPTH = 2 * STEPS * FOLDS;
  localparam int WORDS = U * STEPS;
  localparam int TREE = ($clog2(SIMD) + 1) / 2;
  localparam int STAGES = 2 + TREE + 2 + 3;
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int BANK_BITS = SIMD > 1 ? $clog2(SIMD) : 1;
  localparam int ROW_BITS = U > 1 ? $clog2(U) : 1;
  localparam int WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int X_BITS = $clog2(DEPTH);
  localparam int INDEX_BITS = $clog2(2 * T * FOLDS);

  if (C % PE != 0 || T % SIMD != 0) begin : gen_check_folding
    token_mix_PE_must_divide_C_and_SIMD_must_divide_T check ();
  end

  // Write side: channel folds of a token go to one bank, the next token to the next bank.
  logic write, image_ready, image_done;
  logic [INDEX_BITS-1:0] index;
  logic [FOLD_BITS-1:0] write_fold_q;
  logic [BANK_BITS-1:0] bank_q;
  logic [X_BITS-1:0] write_base_q, write_address;
  logic last_write_fold;
  wire unused = &{1'b0, s_axis_tlast, index};

  ping_pong #(
    .BEATS(T * FOLDS)
  ) images (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .write, .write_address(index),
    .ready(image_ready), .read_done(image_done)
  );

  assign last_write_fold = write_fold_q == FOLD_BITS'(FOLDS - 1);
  assign write_address = write_base_q + X_BITS'(write_fold_q);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      write_fold_q <= '0;
      bank_q <= '0;
      write_base_q <= '0;
    end else if (write) begin
      write_fold_q <= last_write_fold ? '0 : write_fold_q + 1'b1;
      if (last_write_fold) begin
        bank_q <= bank_q == BANK_BITS'(SIMD - 1) ? '0 : bank_q + 1'b1;
        if (bank_q == BANK_BITS'(SIMD - 1))
          write_base_q <= write_base_q == X_BITS'(DEPTH - FOLDS) ? '0 : write_base_q + X_BITS'(FOLDS);
      end
    end
  end

  // Read side: step over the tokens innermost, then the channel folds, then the output tokens.
  logic issue, room, last_step, last_fold, last_row, half_q;
  logic [STEP_BITS-1:0] step_q;
  logic [FOLD_BITS-1:0] fold_q;
  logic [ROW_BITS-1:0] row_q;
  logic [WORD_BITS-1:0] word_q, row_word_q;
  logic [X_BITS-1:0] step_base_q, x_address;

  assign issue = image_ready && (room || step_q != '0);
  assign last_step = step_q == STEP_BITS'(STEPS - 1);
  assign last_fold = fold_q == FOLD_BITS'(FOLDS - 1);
  assign last_row = row_q == ROW_BITS'(U - 1);
  assign image_done = issue && last_step && last_fold && last_row;
  assign x_address = step_base_q + X_BITS'(fold_q);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      step_q <= '0;
      fold_q <= '0;
      row_q <= '0;
      word_q <= '0;
      row_word_q <= '0;
      step_base_q <= '0;
      half_q <= 1'b0;
    end else if (issue) begin
      step_q <= last_step ? '0 : step_q + 1'b1;
      word_q <= word_q + 1'b1;
      step_base_q <= step_base_q + X_BITS'(FOLDS);
      if (last_step) begin
        fold_q <= last_fold ? '0 : fold_q + 1'b1;
        step_base_q <= half_q ^ image_done ? X_BITS'(STEPS * FOLDS) : '0;
        if (!last_fold) word_q <= row_word_q;
        else begin
          row_q <= last_row ? '0 : row_q + 1'b1;
          word_q <= last_row ? '0 : word_q + 1'b1;
          row_word_q <= last_row ? '0 : word_q + 1'b1;
        end
      end
      half_q <= half_q ^ image_done;
    end
  end

  // Memories; biases and shifts are read when the sum reaches the accumulator.
  logic [SIMD*PE*8-1:0] x;
  logic [SIMD*8-1:0] weights;
  logic [BIAS_BITS+SHIFT_BITS-1:0] params;
  logic [ROW_BITS-1:0] param_row;
  logic first, push;

  for (genvar s = 0; s < SIMD; s++) begin : gen_bank
    ram #(
      .WIDTH(PE * 8), .DEPTH(DEPTH)
    ) bank (
      .clk, .write(write && bank_q == BANK_BITS'(s)), .write_address, .write_data(s_axis_tdata),
      .read_address(x_address), .read_data(x[s*PE*8+:PE*8])
    );
  end
  rom #(
    .WIDTH(SIMD * 8), .DEPTH(WORDS), .FILE(WEIGHT_FILE)
  ) weight_rom (
    .clk, .address(word_q), .data(weights)
  );
  delay #(
    .WIDTH(ROW_BITS), .STAGES(TREE + 1)
  ) row_delay (
    .clk, .rst_n, .x(row_q), .y(param_row)
  );
  rom #(
    .WIDTH(BIAS_BITS + SHIFT_BITS), .DEPTH(U), .FILE(PARAM_FILE)
  ) param_rom (
    .clk, .address(param_row), .data(params)
  );
  delay #(
    .STAGES(2)
  ) first_delay (
    .clk, .rst_n, .x(step_q == '0), .y(first)
  );
  delay #(
    .STAGES(STAGES)
  ) valid_delay (
    .clk, .rst_n, .x(issue && last_step), .y(push)
  );

  logic [PE*8-1:0] results;
  for (genvar p = 0; p < PE; p++) begin : gen_channel
    logic [SIMD*8-1:0] activations;
    for (genvar s = 0; s < SIMD; s++) begin : gen_token
      assign activations[s*8+:8] = x[(s*PE+p)*8+:8];
    end
    dot_product #(
      .SIMD(SIMD), .ACC_BITS(ACC_BITS), .BIAS_BITS(BIAS_BITS), .SHIFT_BASE(SHIFT_BASE),
      .SHIFT_BITS(SHIFT_BITS), .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) dot (
      .clk, .rst_n, .first, .weights, .activations, .bias(params[BIAS_BITS-1:0]),
      .shift(params[BIAS_BITS+:SHIFT_BITS]), .result(results[p*8+:8])
    );
  end

  output_buffer #(
    .WIDTH(PE * 8), .BEATS(U * FOLDS)
  ) out (
    .clk, .rst_n, .take(issue && step_q == '0), .room, .push, .push_data(results),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
