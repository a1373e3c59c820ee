// y = table[x + 128] of one lane, or between knots every 2**bits codes: left + round((right - left) * f / 2**bits).
// Even and odd entries lie in two memories: entry k is byte (address + k) / 2 of memory k mod 2.
// Timing: II 1, latency 5.
module simd_table #(
  parameter int WORDS = 2048
) (
  input  logic                     clk,
  input  logic                     write,
  input  logic [$clog2(WORDS)-1:0] write_address,
  input  logic [7:0]               write_data,
  input  logic signed [7:0]        x,
  input  logic [$clog2(WORDS)-1:0] address,
  input  logic [2:0]               bits,
  input  logic                     half_up,
  output logic signed [7:0]        y
);

  localparam int BITS = $clog2(WORDS);
  logic [7:0] index, k, even, odd;
  logic [BITS-1:0] left_at, right_at;
  logic [BITS-2:0] even_q, odd_q;
  logic [6:0] f_d, f_q, f_qq, f_qqq;
  logic [2:0] bits_q, bits_qq, bits_qqq;
  logic up_q, up_qq, up_qqq, swap_q, swap_qq, swap_qqq;

  assign index = {~x[7], x[6:0]};
  assign k = index >> bits;
  assign f_d = index[6:0] & ~(7'h7F << bits);
  assign left_at = address + BITS'(k);
  assign right_at = left_at + 1'b1;
  wire unused = right_at[0];
  always_ff @(posedge clk) begin
    even_q <= left_at[0] ? right_at[BITS-1:1] : left_at[BITS-1:1];
    odd_q <= left_at[0] ? left_at[BITS-1:1] : right_at[BITS-1:1];
    {swap_q, swap_qq, swap_qqq} <= {left_at[0], swap_q, swap_qq};
    {f_q, f_qq, f_qqq} <= {f_d, f_q, f_qq};
    {bits_q, bits_qq, bits_qqq} <= {bits, bits_q, bits_qq};
    {up_q, up_qq, up_qqq} <= {half_up, up_q, up_qq};
  end
  ram #(
    .WIDTH(8), .DEPTH(WORDS / 2)
  ) even_ram (
    .clk, .write(write && !write_address[0]), .write_address(write_address[BITS-1:1]), .write_data,
    .read_address(even_q), .read_data(even)
  );
  ram #(
    .WIDTH(8), .DEPTH(WORDS / 2)
  ) odd_ram (
    .clk, .write(write && write_address[0]), .write_address(write_address[BITS-1:1]), .write_data,
    .read_address(odd_q), .read_data(odd)
  );

  logic signed [7:0] left, right, left_q;
  logic signed [8:0] rise;
  logic signed [16:0] part_q, halved, sum;
  logic [2:0] bits_4;
  logic up_4, odd_bit;
  assign left = swap_qqq ? odd : even;
  assign right = swap_qqq ? even : odd;
  assign rise = 9'(right) - 9'(left);
  always_ff @(posedge clk) begin
    part_q <= 17'(rise * $signed({2'b0, f_qqq}));
    left_q <= left;
    {bits_4, up_4} <= {bits_qqq, up_qqq};
  end
  assign odd_bit = 1'(part_q >>> bits_4);
  assign halved = bits_4 == '0 ? '0 : (17'sd1 << (bits_4 - 3'd1)) - 17'(!(up_4 || odd_bit));
  assign sum = part_q + halved;
  always_ff @(posedge clk) y <= left_q + 8'(sum >>> bits_4);

endmodule
