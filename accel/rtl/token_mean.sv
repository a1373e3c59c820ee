// y[c] = clip(round(sum_t x[t][c] / 2**SHIFT), LO, HI), int8; PE channels in a beat.
// Timing: II 1, T*C/PE cycles an image; latency from the last beats to theirs: 7.
// Memory: one accumulator per channel, C/PE words of distributed RAM; a word is read, added to
// and written back in one cycle, so consecutive tokens never race, down to C/PE = 1.
module token_mean #(
  parameter int C       = 96,
  parameter int T       = 64,
  parameter int PE      = 1,
  parameter int SHIFT   = 6,
  parameter int HALF_UP = 0,
  parameter int LO      = -128,
  parameter int HI      = 127
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
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int TOKEN_BITS = T > 1 ? $clog2(T) : 1;
  localparam int SUM_BITS = 8 + $clog2(T);

  if (C % PE != 0) begin : gen_check_folding
    token_mean_PE_must_divide_C check ();
  end
  wire unused = s_axis_tlast;

  logic accept, last_fold, last_token, take, push;
  logic [FOLD_BITS-1:0] fold_q;
  logic [TOKEN_BITS-1:0] token_q;
  assign accept = s_axis_tvalid && s_axis_tready;
  assign last_fold = fold_q == FOLD_BITS'(FOLDS - 1);
  assign last_token = token_q == TOKEN_BITS'(T - 1);
  assign take = accept && last_token;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      fold_q <= '0;
      token_q <= '0;
    end else if (accept) begin
      fold_q <= last_fold ? '0 : fold_q + 1'b1;
      if (last_fold) token_q <= last_token ? '0 : token_q + 1'b1;
    end
  end

  // One register, then the read-modify-write.
  (* ram_style = "distributed" *)logic [PE*SUM_BITS-1:0] mem[FOLDS];
  logic [PE*SUM_BITS-1:0] word, sums;
  logic [PE*8-1:0] x_q, results;
  logic [FOLD_BITS-1:0] address_q;
  logic valid_q, first_q;
  assign word = mem[address_q];
  always_ff @(posedge clk) begin
    valid_q <= accept;
    x_q <= s_axis_tdata;
    address_q <= fold_q;
    first_q <= token_q == '0;
    if (valid_q) mem[address_q] <= sums;
  end

  for (genvar p = 0; p < PE; p++) begin : gen_lane
    logic signed [7:0] x;
    logic signed [SUM_BITS-1:0] previous, sum_q;
    assign x = x_q[p*8+:8];
    assign previous = first_q ? '0 : word[p*SUM_BITS+:SUM_BITS];
    assign sums[p*SUM_BITS+:SUM_BITS] = previous + SUM_BITS'(x);
    always_ff @(posedge clk) sum_q <= sums[p*SUM_BITS+:SUM_BITS];
    requant #(
      .VALUE_BITS(SUM_BITS), .SHIFT_BASE(SHIFT), .SHIFT_BITS(1),
      .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) lane (
      .clk, .value(sum_q), .shift(1'b0), .result(results[p*8+:8])
    );
  end

  delay #(
    .STAGES(5)
  ) valid_delay (
    .clk, .rst_n, .x(take), .y(push)
  );
  output_buffer #(
    .WIDTH(PE * 8), .BEATS(FOLDS)
  ) out (
    .clk, .rst_n, .take, .room(s_axis_tready), .push, .push_data(results),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
