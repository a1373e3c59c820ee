// y = clip(round((x * mult + bias) / 2**shift), lo, hi), everything set anew with each value.
// round is to the nearest; a tie goes up if half_up, else to the even neighbour. MULTIPLY = 0: mult is 1.
// Timing: II 1, latency 5 (multiply, add, add half, shift, clip), free running.
module simd_scale #(
  parameter int BITS     = 8,
  parameter int MULTIPLY = 1
) (
  input  logic                   clk,
  input  logic signed [BITS-1:0] x,
  input  logic signed [15:0]     mult,
  input  logic signed [31:0]     bias,
  input  logic        [4:0]      shift,
  input  logic                   half_up,
  input  logic signed [7:0]      lo,
  input  logic signed [7:0]      hi,
  output logic signed [7:0]      y
);

  localparam int WIDE = 34;
  logic signed [WIDE-1:0] product_q, sum_q, shifted_q;
  logic signed [31:0] bias_q;
  logic [4:0] shift_q, shift_qq, shift_qqq;
  logic half_q, half_qq;
  logic signed [7:0] lo_q, lo_qq, lo_qqq, lo_qqqq, hi_q, hi_qq, hi_qqq, hi_qqqq;

  if (MULTIPLY != 0) begin : gen_multiply
    always_ff @(posedge clk) product_q <= WIDE'(x * mult);
  end else begin : gen_pass
    wire unused = &{1'b0, mult};
    always_ff @(posedge clk) product_q <= WIDE'(x);
  end

  // Add half of the divisor, less one unit unless the tie goes up, below a further bit.
  logic signed [WIDE-1:0] below_half;
  logic odd, carry;
  for (genvar i = 0; i < WIDE; i++) begin : gen_below_half
    assign below_half[i] = int'(shift_qq) > i + 1;
  end
  assign odd = 1'(sum_q >>> shift_qq);
  assign carry = shift_qq != '0 && (half_qq || odd);
  logic signed [WIDE:0] half_added_q;

  always_ff @(posedge clk) begin
    bias_q <= bias;
    {shift_q, half_q, lo_q, hi_q} <= {shift, half_up, lo, hi};
    sum_q <= product_q + WIDE'(bias_q);
    {shift_qq, half_qq, lo_qq, hi_qq} <= {shift_q, half_q, lo_q, hi_q};
    half_added_q <= {sum_q, 1'b1} + {below_half, carry};
    {shift_qqq, lo_qqq, hi_qqq} <= {shift_qq, lo_qq, hi_qq};
    shifted_q <= WIDE'((half_added_q >>> 1) >>> shift_qqq);
    {lo_qqqq, hi_qqqq} <= {lo_qqq, hi_qqq};
    if (shifted_q < WIDE'(lo_qqqq)) y <= lo_qqqq;
    else if (shifted_q > WIDE'(hi_qqqq)) y <= hi_qqqq;
    else y <= shifted_q[7:0];
  end

endmodule
