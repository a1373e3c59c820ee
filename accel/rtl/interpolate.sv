// y = left + round((right - left) * f / 2**B), int8 codes; a tie goes to the even integer, or up if
// HALF_UP = 1.
// Timing: II 1, latency 3 (difference, product, sum), free running.
// All of it in logic: the product is the sum of B shifted differences, modulo 2**(B+8), which loses
// nothing as y lies between left and right; rounding is the carry into the last sum.
module interpolate #(
  parameter int B       = 2,
  parameter int HALF_UP = 0
) (
  input  logic         clk,
  input  logic [7:0]   left,
  input  logic [7:0]   right,
  input  logic [B-1:0] f,
  output logic [7:0]   y
);

  localparam int BITS = B + 8;

  if (B < 1 || B > 7) begin : gen_check_spacing
    interpolate_B_must_be_1_to_7 check ();
  end

  logic [8:0] rise_q;
  logic [7:0] left_q, left_product_q;
  logic [B-1:0] f_q;
  always_ff @(posedge clk) begin
    rise_q <= {right[7], right} - {left[7], left};
    left_q <= left;
    f_q    <= f;
  end

  logic [BITS-1:0] product, product_q;
  always_comb begin
    product = '0;
    for (int i = 0; i < B; i++) begin
      product = product + (f_q[i] ? BITS'($signed(rise_q)) << i : '0);
    end
  end
  always_ff @(posedge clk) begin
    product_q <= product;
    left_product_q <= left_q;
  end

  // Up where the remainder is more than a half, or a half with an odd floor (HALF_UP: any half).
  logic [B-1:0] remainder;
  logic up;
  assign remainder = product_q[B-1:0];
  assign up = remainder[B-1] && (HALF_UP != 0 || product_q[B] || (remainder << 1) != '0);
  logic [8:0] sum_q;
  always_ff @(posedge clk) sum_q <= {left_product_q, 1'b1} + {product_q[BITS-1:B], up};
  assign y = sum_q[8:1];
  wire unused = sum_q[0];

endmodule
