// Two sums of up to four products that share an operand, for multipliers of 27 x 18 bits (DSP48E2):
//   high = sum_s high_terms[s] * shared[s], low = sum_s low_terms[s] * shared[s], int8 operands
// as sum_s (high_terms[s] * 2**18 + low_terms[s]) * shared[s]. Exact: four products of int8 lie in
// -2**16 .. 2**16, so the low sum is the low 18 bits, and the high one is what lies above plus the
// unit that a negative low sum borrows from it.
// Timing: II 1, latency 1 for SUMMED = 0 (one product), else 2; free running.
module packed_products #(
  parameter int COUNT  = 4,
  parameter int SUMMED = 1
) (
  input  logic                clk,
  input  logic [COUNT*8-1:0]  high_terms,
  input  logic [COUNT*8-1:0]  low_terms,
  input  logic [COUNT*8-1:0]  shared,
  output logic signed [17:0]  high,
  output logic signed [17:0]  low
);

  if (COUNT < 1 || COUNT > 4 || (COUNT > 1 && SUMMED == 0)) begin : gen_check_count
    packed_products_COUNT_must_be_1_to_4_and_1_unless_SUMMED check ();
  end

  logic signed [35:0] sum;
  for (genvar s = 0; s < COUNT; s++) begin : gen_product
    logic signed [7:0] a, b, c;
    logic signed [26:0] pair;
    logic signed [35:0] product_q, total;
    assign a = high_terms[s*8+:8];
    assign b = low_terms[s*8+:8];
    assign c = shared[s*8+:8];
    assign pair = (27'(a) <<< 18) + 27'(b);
    always_ff @(posedge clk) product_q <= pair * c;
    if (s == 0) begin : gen_first
      assign total = product_q;
    end else begin : gen_next
      assign total = gen_product[s-1].total + product_q;
    end
  end
  if (SUMMED != 0) begin : gen_sum
    always_ff @(posedge clk) sum <= gen_product[COUNT-1].total;
  end else begin : gen_single
    assign sum = gen_product[0].total;
  end

  assign low = sum[17:0];
  assign high = sum[35:18] + 18'(sum[17]);

endmodule
