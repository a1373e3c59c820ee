// One output element of a matrix product, SIMD products a cycle:
//   acc = bias + sum over a group of beats of sum_s weights[s] * activations[s]
//   result = REQUANT ? clip(round(acc / 2**(SHIFT_BASE + shift))) as int8 : acc as int32
// `first` comes with the first beat of a group (and in idle cycles); the beats of a group follow
// each other without a gap. `bias` comes TREE + 1 cycles after the first beat of its group,
// `shift` TREE + 1 cycles after the last, where TREE = (ceil(log2(SIMD)) + 1) / 2.
// Timing: II 1, latency TREE + 2 from the last beat to acc, 3 more for the requantization.
module dot_product #(
  parameter int SIMD       = 12,
  parameter int ACC_BITS   = 24,
  parameter int BIAS_BITS  = 16,
  parameter int SHIFT_BASE = 0,
  parameter int SHIFT_BITS = 5,
  parameter int REQUANT    = 1,
  parameter int HALF_UP    = 0,
  parameter int LO         = -128,
  parameter int HI         = 127,
  parameter int OUT_BITS   = REQUANT != 0 ? 8 : 32
) (
  input  logic                        clk,
  input  logic                        rst_n,
  input  logic                        first,
  input  logic        [SIMD*8-1:0]    weights,
  input  logic        [SIMD*8-1:0]    activations,
  input  logic signed [BIAS_BITS-1:0] bias,
  input  logic        [SHIFT_BITS-1:0] shift,
  output logic        [OUT_BITS-1:0]  result
);

  localparam int LEVELS = $clog2(SIMD);
  localparam int TREE = (LEVELS + 1) / 2;

  if (ACC_BITS < BIAS_BITS || ACC_BITS > 32) begin : gen_check_accumulator
    dot_product_ACC_BITS_must_be_BIAS_BITS_to_32 check ();
  end

  logic [SIMD*16-1:0] products_q;
  for (genvar s = 0; s < SIMD; s++) begin : gen_product
    logic signed [7:0] weight, activation;
    logic signed [15:0] product_q;
    assign weight = weights[s*8+:8];
    assign activation = activations[s*8+:8];
    always_ff @(posedge clk) product_q <= weight * activation;
    assign products_q[s*16+:16] = product_q;
  end

  logic signed [16+LEVELS-1:0] sum;
  adder_tree #(
    .COUNT(SIMD), .IN_BITS(16)
  ) tree (
    .clk, .terms(products_q), .sum
  );

  // The accumulator wraps; ACC_BITS hold the final value, so partial sums may wrap and come back.
  logic first_sum;
  logic signed [ACC_BITS-1:0] acc_q;
  delay #(
    .STAGES(TREE + 1)
  ) first_delay (
    .clk, .rst_n, .x(first), .y(first_sum)
  );
  always_ff @(posedge clk) acc_q <= (first_sum ? ACC_BITS'(bias) : acc_q) + ACC_BITS'(sum);

  if (REQUANT != 0) begin : gen_requant
    logic [SHIFT_BITS-1:0] shift_q;
    always_ff @(posedge clk) shift_q <= shift;
    requant #(
      .VALUE_BITS(ACC_BITS), .SHIFT_BASE(SHIFT_BASE), .SHIFT_BITS(SHIFT_BITS),
      .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
    ) lane (
      .clk, .value(acc_q), .shift(shift_q), .result
    );
  end else begin : gen_accumulator
    wire unused = &{1'b0, shift};
    assign result = OUT_BITS'(acc_q);
  end

endmodule
