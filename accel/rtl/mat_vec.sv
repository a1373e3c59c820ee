// y[t][m] = requant(sum_k weight[m][k] * x[t][k] + bias[m], shift[m]), int8 in; int8 out, or the
// int32 accumulator with REQUANT = 0. IN_LANES columns in a beat, OUT_LANES rows out a beat, PE
// rows by SIMD columns of products a cycle.
// Timing: an image takes TOKENS * max(M/PE * K/SIMD, K/IN_LANES, M/OUT_LANES) cycles, tokens and
// images without a bubble. Rows are computed in groups of PE, K/SIMD cycles a group. Where
// M/PE or K/SIMD is 1 (and SIMD >= IN_LANES), the beat that completes SIMD columns issues them, and
// further rows follow one a cycle; else a token is collected while the one before is computed, and
// is issued from the cycle after its last beat on. From the issue of a group's last columns to its
// first beat out: READ + TREE + 7 (matrix_core), READ = 1, or 2 where a buffered token pair has
// more than 64 words (of SIMD or IN_LANES columns, whichever is more).
// Memory: WEIGHT_FILE (M/PE)*(K/SIMD) words, word f*(K/SIMD) + j holds lane p*SIMD + s =
// weight[f*PE+p][j*SIMD+s]; PARAM_FILE M/LANES words of LANES = min(PE, OUT_LANES) rows, lane l =
// {shift - SHIFT_BASE, bias}; two tokens, or SIMD columns twice in registers.
module mat_vec #(
  parameter int K          = 96,
  parameter int M          = 96,
  parameter int TOKENS     = 64,
  parameter int PE         = 3,
  parameter int SIMD       = 6,
  parameter int IN_LANES   = 1,
  parameter int OUT_LANES  = 1,
  parameter int FABRIC     = 0,
  parameter int PACKED     = 0,
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
  input  logic                          clk,
  input  logic                          rst_n,
  input  logic [IN_LANES*8-1:0]         s_axis_tdata,
  input  logic                          s_axis_tvalid,
  output logic                          s_axis_tready,
  input  logic                          s_axis_tlast,
  output logic [OUT_LANES*OUT_BITS-1:0] m_axis_tdata,
  output logic                          m_axis_tvalid,
  input  logic                          m_axis_tready,
  output logic                          m_axis_tlast
);

  localparam int COLS = K / SIMD;
  localparam int ROWS = M / PE;
  localparam int LANES = PE < OUT_LANES ? PE : OUT_LANES;
  localparam int BUFFERED = (SIMD < IN_LANES || (COLS > 1 && ROWS > 1)) ? 1 : 0;
  localparam int WORD = SIMD > IN_LANES ? SIMD : IN_LANES;
  localparam int READ = BUFFERED != 0 && 2 * K / WORD > 64 ? 2 : 1;
  localparam int COL_BITS = COLS > 1 ? $clog2(COLS) : 1;
  localparam int ROW_BITS = ROWS > 1 ? $clog2(ROWS) : 1;

  if (K % SIMD != 0 || M % PE != 0) begin : gen_check_folding
    mat_vec_SIMD_must_divide_K_and_PE_must_divide_M check ();
  end
  if (WORD % SIMD != 0 || WORD % IN_LANES != 0 || K % IN_LANES != 0) begin : gen_check_in_lanes
    mat_vec_IN_LANES_must_divide_K_and_divide_SIMD_or_be_divided_by_it check ();
  end
  if (M % OUT_LANES != 0) begin : gen_check_out_lanes
    mat_vec_OUT_LANES_must_divide_M check ();
  end
  wire unused = s_axis_tlast;

  // SIMD columns of all PE rows are issued a cycle: the groups of rows outer, the columns inner.
  logic issue, room, primed, last_col, last_row;
  logic [COL_BITS-1:0] col_q;
  logic [ROW_BITS-1:0] row_q;
  assign last_col = col_q == COL_BITS'(COLS - 1);
  assign last_row = row_q == ROW_BITS'(ROWS - 1);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      col_q <= '0;
      row_q <= '0;
    end else if (issue) begin
      col_q <= last_col ? '0 : col_q + 1'b1;
      if (last_col) row_q <= last_row ? '0 : row_q + 1'b1;
    end
  end

  logic [SIMD*8-1:0] x;
  if (BUFFERED != 0) begin : gen_buffer
    logic ready;
    token_buffer #(
      .K(K), .SIMD(SIMD), .IN_LANES(IN_LANES)
    ) tokens (
      .clk, .rst_n, .s_axis_tdata, .s_axis_tvalid, .s_axis_tready, .ready,
      .read(issue), .last_col, .done(issue && last_col && last_row), .x
    );
    assign issue = ready && primed && (!last_col || room);
  end else begin : gen_gather
    localparam int BEATS = SIMD / IN_LANES;
    localparam int BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
    logic [BEAT_BITS-1:0] beat_q;
    logic accept, last_beat;
    logic [SIMD*8-1:0] word;
    assign last_beat = beat_q == BEAT_BITS'(BEATS - 1);
    assign s_axis_tready = !last_beat || (row_q == '0 && primed && (!last_col || room));
    assign accept = s_axis_tvalid && s_axis_tready;
    assign issue = row_q != '0 ? room : accept && last_beat;
    always_ff @(posedge clk) begin
      if (!rst_n) beat_q <= '0;
      else if (accept) beat_q <= last_beat ? '0 : beat_q + 1'b1;
    end
    if (BEATS > 1) begin : gen_shift
      localparam int KEEP = (SIMD - IN_LANES) * 8;
      logic [KEEP-1:0] kept_q;
      assign word = {s_axis_tdata, kept_q};
      always_ff @(posedge clk) if (accept) kept_q <= word[SIMD*8-1-:KEEP];
    end else begin : gen_wire
      assign word = s_axis_tdata;
    end
    always_ff @(posedge clk) if (accept && last_beat) x <= word;
  end

  logic advance;
  logic [PE*SIMD*8-1:0] weights;
  delay #(
    .STAGES(READ - 1)
  ) advance_delay (
    .clk, .rst_n, .x(issue), .y(advance)
  );
  rom_stream #(
    .WIDTH(PE * SIMD * 8), .DEPTH(ROWS * COLS), .GROUP(ROWS * COLS), .FILE(WEIGHT_FILE)
  ) weight_rom (
    .clk, .rst_n, .advance, .primed, .data(weights)
  );
  matrix_core #(
    .PE(PE), .SIMD(SIMD), .OUT_LANES(OUT_LANES), .FABRIC(FABRIC), .PACKED(PACKED),
    .READ(READ), .PERIOD(COLS),
    .BEATS(TOKENS * M / OUT_LANES), .ACC_BITS(ACC_BITS), .BIAS_BITS(BIAS_BITS),
    .SHIFT_BASE(SHIFT_BASE), .SHIFT_BITS(SHIFT_BITS), .REQUANT(REQUANT), .HALF_UP(HALF_UP),
    .LO(LO), .HI(HI), .PARAM_LANES(LANES), .PARAM_WORDS(M / LANES), .PARAM_FILE(PARAM_FILE)
  ) core (
    .clk, .rst_n, .issue, .first(col_q == '0), .last(last_col), .room, .own(weights), .shared(x),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
