// PE sums of SIMD products each: sums[p] = sum_s own[p*SIMD+s] * shared[s], int8 operands.
// Timing: II 1, latency 1 + TREE, TREE = (ceil(log2(SIMD)) + 1) / 2, free running.
module dot_products #(
  parameter int PE       = 2,
  parameter int SIMD     = 12,
  parameter int SUM_BITS = 16 + $clog2(SIMD)
) (
  input  logic                   clk,
  input  logic [PE*SIMD*8-1:0]   own,
  input  logic [SIMD*8-1:0]      shared,
  output logic [PE*SUM_BITS-1:0] sums
);

  for (genvar p = 0; p < PE; p++) begin : gen_row
    logic [SIMD*16-1:0] products_q;
    for (genvar s = 0; s < SIMD; s++) begin : gen_product
      logic signed [7:0] a, b;
      logic signed [15:0] product_q;
      assign a = own[(p*SIMD+s)*8+:8];
      assign b = shared[s*8+:8];
      always_ff @(posedge clk) product_q <= a * b;
      assign products_q[s*16+:16] = product_q;
    end
    adder_tree #(
      .COUNT(SIMD), .IN_BITS(16)
    ) tree (
      .clk, .terms(products_q), .sum(sums[p*SUM_BITS+:SUM_BITS])
    );
  end

endmodule
