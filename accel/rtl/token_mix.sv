// y[u][c] = requant(sum_t weight[u][t] * x[t][c] + bias[u], shift[u]), int8. IN_LANES channels in a
// beat, OUT_LANES channels out a beat; PE channels by SIMD tokens of products a cycle.
// Timing: an image takes max(U * C/PE * T/SIMD, T * C/IN_LANES, U * C/OUT_LANES) cycles, images
// without a bubble. Groups of PE channels are computed T/SIMD cycles each, the channels of an
// output token inner; those of token 0 are issued as soon as the last input token's beats have
// written their W = max(PE, IN_LANES) channels, from the cycle after the beat on. From the issue of
// a group's last tokens to its first beat out: READ + TREE + 7 (matrix_core), READ = 2, or 1 where
// two images have up to 64 words.
// Memory: two images in one memory of words of SIMD tokens by W channels, word (half*T/SIMD + j) *
// C/W + w holds lane s*W + p = x[j*SIMD+s][w*W+p]; WEIGHT_FILE U*(T/SIMD) words, word u*(T/SIMD) + j
// holds lane s = weight[u][j*SIMD+s]; PARAM_FILE U words {shift - SHIFT_BASE, bias}.
module token_mix #(
  parameter int C          = 96,
  parameter int T          = 64,
  parameter int U          = 64,
  parameter int PE         = 3,
  parameter int SIMD       = 4,
  parameter int IN_LANES   = 1,
  parameter int OUT_LANES  = 1,
  parameter int FABRIC     = 0,
  parameter int PACKED     = 0,
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
  input  logic                   clk,
  input  logic                   rst_n,
  input  logic [IN_LANES*8-1:0]  s_axis_tdata,
  input  logic                   s_axis_tvalid,
  output logic                   s_axis_tready,
  input  logic                   s_axis_tlast,
  output logic [OUT_LANES*8-1:0] m_axis_tdata,
  output logic                   m_axis_tvalid,
  input  logic                   m_axis_tready,
  output logic                   m_axis_tlast
);

  localparam int W = PE > IN_LANES ? PE : IN_LANES;
  localparam int WORDS = C / W;  // of a token
  localparam int LANES = W / IN_LANES;
  localparam int PARTS = W / PE;
  localparam int STEPS = T / SIMD;
  localparam int DEPTH = 2 * STEPS * WORDS;
  localparam int READ = DEPTH > 64 ? 2 : 1;
  localparam int GIVEN = PE < OUT_LANES ? PE : OUT_LANES;
  localparam int STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
  localparam int WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int LANE_BITS = LANES > 1 ? $clog2(LANES) : 1;
  localparam int PART_BITS = PARTS > 1 ? $clog2(PARTS) : 1;
  localparam int BANK_BITS = SIMD > 1 ? $clog2(SIMD) : 1;
  localparam int ROW_BITS = U > 1 ? $clog2(U) : 1;
  localparam int X_BITS = $clog2(DEPTH);
  localparam int INDEX_BITS = $clog2(2 * T * C / IN_LANES);

  if (C % PE != 0 || T % SIMD != 0) begin : gen_check_folding
    token_mix_PE_must_divide_C_and_SIMD_must_divide_T check ();
  end
  if (W % PE != 0 || W % IN_LANES != 0 || C % W != 0) begin : gen_check_in_lanes
    token_mix_IN_LANES_must_divide_C_and_divide_PE_or_be_divided_by_it check ();
  end
  if (C % OUT_LANES != 0) begin : gen_check_out_lanes
    token_mix_OUT_LANES_must_divide_C check ();
  end

  // Write side: the lanes of a word, the words of a token, SIMD tokens beside each other.
  logic write, image_ready, image_done, last_lane, last_write_word, last_bank;
  logic [INDEX_BITS-1:0] index;
  logic [LANE_BITS-1:0] lane_q;
  logic [WORD_BITS-1:0] write_word_q;
  logic [BANK_BITS-1:0] bank_q;
  logic [X_BITS-1:0] write_base_q, write_address;
  logic [SIMD*LANES-1:0] enables;
  wire unused = &{1'b0, s_axis_tlast, index};

  ping_pong #(
    .BEATS(T * C / IN_LANES)
  ) images (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .write, .write_address(index),
    .ready(image_ready), .read_done(image_done)
  );

  assign last_lane = lane_q == LANE_BITS'(LANES - 1);
  assign last_write_word = write_word_q == WORD_BITS'(WORDS - 1);
  assign last_bank = bank_q == BANK_BITS'(SIMD - 1);
  assign write_address = write_base_q + X_BITS'(write_word_q);
  for (genvar i = 0; i < SIMD * LANES; i++) begin : gen_enable
    assign enables[i] = write && bank_q == BANK_BITS'(i / LANES) && lane_q == LANE_BITS'(i % LANES);
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      lane_q <= '0;
      write_word_q <= '0;
      bank_q <= '0;
      write_base_q <= '0;
    end else if (write) begin
      lane_q <= last_lane ? '0 : lane_q + 1'b1;
      if (last_lane) write_word_q <= last_write_word ? '0 : write_word_q + 1'b1;
      if (last_lane && last_write_word) begin
        bank_q <= last_bank ? '0 : bank_q + 1'b1;
        if (last_bank)
          write_base_q <= write_base_q == X_BITS'(DEPTH - WORDS) ? '0 : write_base_q + X_BITS'(WORDS);
      end
    end
  end

  // Read side: step over the tokens innermost, then the channels, then the output tokens.
  logic issue, room, primed, available, half_q;
  logic first_step, last_step, last_part, last_word, last_row, last_token;
  logic [STEP_BITS-1:0] step_q;
  logic [PART_BITS-1:0] part_q, part;
  logic [WORD_BITS-1:0] word_q;
  logic [ROW_BITS-1:0] row_q;
  logic [X_BITS-1:0] step_base_q, x_address;

  assign first_step = step_q == '0;
  assign last_step = step_q == STEP_BITS'(STEPS - 1);
  assign last_part = part_q == PART_BITS'(PARTS - 1);
  assign last_word = word_q == WORD_BITS'(WORDS - 1);
  assign last_row = row_q == ROW_BITS'(U - 1);
  assign last_token = last_bank && (write_base_q == X_BITS'(DEPTH / 2 - WORDS) ||
      write_base_q == X_BITS'(DEPTH - WORDS));
  assign available = image_ready || (row_q == '0 && last_token && write_word_q > word_q);
  assign issue = available && primed && (!last_step || room);
  assign image_done = issue && last_step && last_part && last_word && last_row;
  assign x_address = step_base_q + X_BITS'(word_q);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      step_q <= '0;
      part_q <= '0;
      word_q <= '0;
      row_q <= '0;
      step_base_q <= '0;
      half_q <= 1'b0;
    end else if (issue) begin
      step_q <= last_step ? '0 : step_q + 1'b1;
      step_base_q <= step_base_q + X_BITS'(WORDS);
      half_q <= half_q ^ image_done;
      if (last_step) begin
        step_base_q <= half_q ^ image_done ? X_BITS'(DEPTH / 2) : '0;
        part_q <= last_part ? '0 : part_q + 1'b1;
        if (last_part) begin
          word_q <= last_word ? '0 : word_q + 1'b1;
          if (last_word) row_q <= last_row ? '0 : row_q + 1'b1;
        end
      end
    end
  end

  logic advance;
  logic [SIMD*W*8-1:0] words;
  logic [PE*SIMD*8-1:0] x;
  logic [SIMD*8-1:0] weights;

  lane_ram #(
    .LANES(SIMD * LANES), .LANE_BITS(IN_LANES * 8), .DEPTH(DEPTH)
  ) memory (
    .clk, .write(enables), .write_address, .write_data(s_axis_tdata), .read_address(x_address),
    .read_data(words)
  );
  delay #(
    .WIDTH(PART_BITS), .STAGES(READ)
  ) part_delay (
    .clk, .rst_n, .x(part_q), .y(part)
  );
  for (genvar s = 0; s < SIMD; s++) begin : gen_token
    logic [PE*8-1:0] channels;
    assign channels = words[(s*W+int'(part)*PE)*8+:PE*8];
    for (genvar p = 0; p < PE; p++) begin : gen_channel
      assign x[(p*SIMD+s)*8+:8] = channels[p*8+:8];
    end
  end

  delay #(
    .STAGES(READ - 1)
  ) advance_delay (
    .clk, .rst_n, .x(issue), .y(advance)
  );
  rom_stream #(
    .WIDTH(SIMD * 8), .DEPTH(U * STEPS), .GROUP(STEPS), .REPEAT(C / PE), .FILE(WEIGHT_FILE)
  ) weight_rom (
    .clk, .rst_n, .advance, .primed, .data(weights)
  );
  matrix_core #(
    .PE(PE), .SIMD(SIMD), .OUT_LANES(OUT_LANES), .FABRIC(FABRIC), .PACKED(PACKED),
    .READ(READ), .PERIOD(STEPS),
    .BEATS(U * C / OUT_LANES), .ACC_BITS(ACC_BITS), .BIAS_BITS(BIAS_BITS),
    .SHIFT_BASE(SHIFT_BASE), .SHIFT_BITS(SHIFT_BITS), .HALF_UP(HALF_UP), .LO(LO), .HI(HI),
    .PARAM_LANES(1), .PARAM_WORDS(U), .PARAM_REPEAT(C / GIVEN), .PARAM_FILE(PARAM_FILE)
  ) core (
    .clk, .rst_n, .issue, .first(first_step), .last(last_step), .room, .own(x), .shared(weights),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
