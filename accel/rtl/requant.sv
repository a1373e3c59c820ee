// result = clip(round(value / 2**amount), LO, HI) with amount = SHIFT_BASE + shift.
// round is to the nearest; a tie goes to the even neighbour, or up if HALF_UP = 1:
//   floor((value + 2**(amount-1) - 1 + odd) / 2**amount), odd = bit `amount` of value, or 1.
// amount = 0 leaves the value as it is.
// Timing: II 1, latency 3 (add, shift, clip), free running.
module requant #(
  parameter int VALUE_BITS = 24,
  parameter int SHIFT_BASE = 0,
  parameter int SHIFT_BITS = 5,
  parameter int HALF_UP    = 0,
  parameter int LO         = -128,
  parameter int HI         = 127
) (
  input  logic                         clk,
  input  logic signed [VALUE_BITS-1:0] value,
  input  logic        [SHIFT_BITS-1:0] shift,
  output logic        [7:0]            result
);

  localparam int SHIFT_MAX = SHIFT_BASE + (1 << SHIFT_BITS) - 1;
  localparam int WIDEST = VALUE_BITS > SHIFT_MAX ? VALUE_BITS : SHIFT_MAX;
  localparam int BITS = (WIDEST > 9 ? WIDEST : 9) + 1;
  localparam logic signed [BITS-1:0] LOWEST = BITS'(LO);
  localparam logic signed [BITS-1:0] HIGHEST = BITS'(HI);

  if (LO < -128 || HI > 127 || LO > HI) begin : gen_check_limits
    requant_limits_must_be_ordered_int8_codes check ();
  end
  if (SHIFT_BASE < 0 || SHIFT_BASE > 31 || SHIFT_BITS < 1 || SHIFT_BITS > 5) begin : gen_check_shift
    requant_shift_must_be_0_to_31 check ();
  end

  // Add half of the divisor, less one unit unless the tie goes up.
  logic signed [BITS-1:0] wide, base_shifted, below_half;
  logic odd, carry;
  assign wide = BITS'(value);
  assign base_shifted = wide >>> SHIFT_BASE;
  for (genvar i = 0; i < BITS; i++) begin : gen_below_half
    assign below_half[i] = SHIFT_BASE + int'(shift) > i + 1;
  end
  assign odd = 1'(base_shifted >>> shift);
  assign carry = (SHIFT_BASE + int'(shift) != 0) && (HALF_UP != 0 || odd);

  logic signed [BITS:0] sum_q;
  logic [SHIFT_BITS-1:0] shift_q;
  always_ff @(posedge clk) begin
    sum_q   <= {wide, 1'b1} + {below_half, carry};
    shift_q <= shift;
  end

  logic signed [BITS-1:0] floor_base, shifted_q;
  assign floor_base = BITS'(sum_q >>> (SHIFT_BASE + 1));
  always_ff @(posedge clk) shifted_q <= floor_base >>> shift_q;

  always_ff @(posedge clk) begin
    if (shifted_q < LOWEST) result <= 8'(LO);
    else if (shifted_q > HIGHEST) result <= 8'(HI);
    else result <= shifted_q[7:0];
  end

endmodule
