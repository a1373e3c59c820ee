// PE sums of SIMD products each: sums[p] = sum_s own[p*SIMD+s] * shared[s], int8 operands.
// The first FABRIC products are made of LUTs. PACKED = 1: two rows share their multipliers, for
// DSP48E2 (FABRIC then counts in the last row, if PE is odd).
// Timing: II 1, latency 1 + TREE, TREE = (ceil(log2(SIMD)) + 1) / 2, free running.
module dot_products #(
  parameter int PE       = 2,
  parameter int SIMD     = 12,
  parameter int FABRIC   = 0,
  parameter int PACKED   = 0,
  parameter int SUM_BITS = 16 + $clog2(SIMD)
) (
  input  logic                   clk,
  input  logic [PE*SIMD*8-1:0]   own,
  input  logic [SIMD*8-1:0]      shared,
  output logic [PE*SUM_BITS-1:0] sums
);

  localparam int PAIRS = PACKED != 0 ? PE / 2 : 0;
  localparam int GROUPS = (SIMD + 3) / 4;
  localparam int PAIR_BITS = 18 + $clog2(GROUPS);

  // Pairs of rows: sums of four products each, then a tree.
  for (genvar q = 0; q < PAIRS; q++) begin : gen_pair
    logic [2*GROUPS*18-1:0] terms;
    for (genvar g = 0; g < GROUPS; g++) begin : gen_group
      localparam int COUNT = SIMD - 4 * g > 4 ? 4 : SIMD - 4 * g;
      packed_products #(
        .COUNT(COUNT), .SUMMED(SIMD > 1 ? 1 : 0)
      ) products (
        .clk, .high_terms(own[((2*q+1)*SIMD+4*g)*8+:COUNT*8]),
        .low_terms(own[(2*q*SIMD+4*g)*8+:COUNT*8]), .shared(shared[4*g*8+:COUNT*8]),
        .high(terms[(GROUPS+g)*18+:18]), .low(terms[g*18+:18])
      );
    end
    for (genvar h = 0; h < 2; h++) begin : gen_row
      logic signed [PAIR_BITS-1:0] sum;
      adder_tree #(
        .COUNT(GROUPS), .IN_BITS(18)
      ) tree (
        .clk, .terms(terms[h*GROUPS*18+:GROUPS*18]), .sum
      );
      assign sums[(2*q+h)*SUM_BITS+:SUM_BITS] = SUM_BITS'(sum);
    end
  end

  for (genvar p = 2 * PAIRS; p < PE; p++) begin : gen_row
    logic [SIMD*16-1:0] products_q;
    for (genvar s = 0; s < SIMD; s++) begin : gen_product
      logic signed [7:0] a, b;
      logic signed [15:0] product, product_q;
      assign a = own[(p*SIMD+s)*8+:8];
      assign b = shared[s*8+:8];
      if ((p - 2 * PAIRS) * SIMD + s < FABRIC) begin : gen_luts
        lut_multiplier multiplier (
          .a, .b, .product
        );
      end else begin : gen_any
        assign product = a * b;
      end
      always_ff @(posedge clk) product_q <= product;
      assign products_q[s*16+:16] = product_q;
    end
    adder_tree #(
      .COUNT(SIMD), .IN_BITS(16)
    ) tree (
      .clk, .terms(products_q), .sum(sums[p*SUM_BITS+:SUM_BITS])
    );
  end

endmodule
