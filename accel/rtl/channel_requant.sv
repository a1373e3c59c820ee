// y[c] = clip(round((x[c] * mult[c] + bias[c]) / 2**shift[c]), LO, HI), int8; PE channels a beat.
// x has X_BITS bits, signed, the lanes of a beat without gaps; MULT_BITS = 0 leaves the multiplier
// out (mult is 1 everywhere).
// Timing: II 1, latency 9.
// Memory: PARAM_FILE C/PE words, lane p = {shift - SHIFT_BASE, bias, mult} of channel f*PE+p.
module channel_requant #(
  parameter int C          = 96,
  parameter int PE         = 1,
  parameter int BEATS      = 6144,
  parameter int X_BITS     = 8,
  parameter int MULT_BITS  = 18,
  parameter int BIAS_BITS  = 24,
  parameter int VALUE_BITS = 27,
  parameter int SHIFT_BASE = 0,
  parameter int SHIFT_BITS = 5,
  parameter int HALF_UP    = 0,
  parameter int LO         = -128,
  parameter int HI         = 127,
  parameter PARAM_FILE     = ""
) (
  input  logic                           clk,
  input  logic                           rst_n,
  input  logic [(PE*X_BITS+7)/8*8-1:0]   s_axis_tdata,
  input  logic                           s_axis_tvalid,
  output logic                           s_axis_tready,
  input  logic                           s_axis_tlast,
  output logic [PE*8-1:0]                m_axis_tdata,
  output logic                           m_axis_tvalid,
  input  logic                           m_axis_tready,
  output logic                           m_axis_tlast
);

  localparam int FOLDS = C / PE;
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;
  localparam int PARAM_BITS = MULT_BITS + BIAS_BITS + SHIFT_BITS;

  if (C % PE != 0) begin : gen_check_folding
    channel_requant_PE_must_divide_C check ();
  end
  wire unused = &{1'b0, s_axis_tlast, s_axis_tdata};

  logic accept, push;
  logic [FOLD_BITS-1:0] fold_q;
  assign accept = s_axis_tvalid && s_axis_tready;
  always_ff @(posedge clk) begin
    if (!rst_n) fold_q <= '0;
    else if (accept) fold_q <= fold_q == FOLD_BITS'(FOLDS - 1) ? '0 : fold_q + 1'b1;
  end

  logic [PE*PARAM_BITS-1:0] params;
  logic [PE*X_BITS-1:0] x;
  logic [PE*8-1:0] results;
  rom #(
    .WIDTH(PE * PARAM_BITS), .DEPTH(FOLDS), .FILE(PARAM_FILE)
  ) param_rom (
    .clk, .address(fold_q), .data(params)
  );
  delay #(
    .WIDTH(PE * X_BITS), .STAGES(2)
  ) x_delay (
    .clk, .rst_n, .x(s_axis_tdata[PE*X_BITS-1:0]), .y(x)
  );

  for (genvar p = 0; p < PE; p++) begin : gen_lane
    logic signed [X_BITS-1:0] operand;
    logic signed [MULT_BITS+X_BITS-1:0] product_q;
    logic signed [BIAS_BITS-1:0] bias_q;
    logic signed [VALUE_BITS-1:0] value_q;
    logic [SHIFT_BITS-1:0] shift_q, shift_value_q;
    assign operand = x[p*X_BITS+:X_BITS];
    if (MULT_BITS > 0) begin : gen_multiplier
      logic signed [MULT_BITS-1:0] mult;
      assign mult = params[p*PARAM_BITS+:MULT_BITS];
      always_ff @(posedge clk) product_q <= operand * mult;
    end else begin : gen_no_multiplier
      always_ff @(posedge clk) product_q <= operand;
    end
    always_ff @(posedge clk) begin
      bias_q <= params[p*PARAM_BITS+MULT_BITS+:BIAS_BITS];
      shift_q <= params[p*PARAM_BITS+MULT_BITS+BIAS_BITS+:SHIFT_BITS];
      value_q <= VALUE_BITS'(product_q) + VALUE_BITS'(bias_q);
      shift_value_q <= shift_q;
    end
    requant #(
      .VALUE_BITS(VALUE_BITS), .SHIFT_BASE(SHIFT_BASE), .SHIFT_BITS(SHIFT_BITS),
      .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) lane (
      .clk, .value(value_q), .shift(shift_value_q), .result(results[p*8+:8])
    );
  end

  delay #(
    .STAGES(7)
  ) valid_delay (
    .clk, .rst_n, .x(accept), .y(push)
  );
  output_buffer #(
    .WIDTH(PE * 8), .BEATS(BEATS)
  ) out (
    .clk, .rst_n, .take(accept), .room(s_axis_tready), .push, .push_data(results),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
