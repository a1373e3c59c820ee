// One lane of channel_lut: y = table[fold][index], or with B > 0 knots every 2**B codes: k = index
// >> B, f = the B bits below, y = knot[k] + round((knot[k+1] - knot[k]) * f / 2**B).
// Timing: II 1; latency 2, with knots 5; free running.
// Memory: FILE, FOLDS * 2**(8-B) bytes, read at k and k + 1 through the two ports of one memory; the
// knot at the right end of each fold is held apart, in LAST_FILE, FOLDS bytes.
module table_lane #(
  parameter int FOLDS     = 96,
  parameter int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1,
  parameter int B         = 0,
  parameter int HALF_UP   = 0,
  parameter FILE          = "",
  parameter LAST_FILE     = ""
) (
  input  logic                 clk,
  input  logic                 rst_n,
  input  logic [FOLD_BITS-1:0] fold,
  input  logic [7:0]           index,
  output logic [7:0]           y
);

  localparam int K_BITS = 8 - B;
  localparam int ADDRESS_BITS = FOLDS > 1 ? FOLD_BITS + K_BITS : K_BITS;

  if (B < 0 || B > 7) begin : gen_check_spacing
    table_lane_B_must_be_0_to_7 check ();
  end

  if (B == 0) begin : gen_full
    wire unused = rst_n;
    rom #(
      .WIDTH(8), .DEPTH(FOLDS * 256), .FILE(FILE)
    ) table_rom (
      .clk, .address(ADDRESS_BITS'({fold, index})), .data(y)
    );
  end else begin : gen_knots
    logic [K_BITS-1:0] k;
    logic [B-1:0] f;
    logic [7:0] left, inner, last;
    logic ends;
    assign k = index[7:B];

    dual_rom #(
      .WIDTH(8), .DEPTH(FOLDS << K_BITS), .FILE(FILE)
    ) knots (
      .clk, .a_address(ADDRESS_BITS'({fold, k})), .a_data(left),
      .b_address(ADDRESS_BITS'({fold, K_BITS'(k + 1'b1)})), .b_data(inner)
    );
    rom #(
      .WIDTH(8), .DEPTH(FOLDS), .FILE(LAST_FILE)
    ) last_knots (
      .clk, .address(fold), .data(last)
    );
    delay #(
      .WIDTH(B + 1), .STAGES(2)
    ) fraction_delay (
      .clk, .rst_n, .x({&k, index[B-1:0]}), .y({ends, f})
    );
    interpolate #(
      .B(B), .HALF_UP(HALF_UP)
    ) line (
      .clk, .left, .right(ends ? last : inner), .f, .y
    );
  end

endmodule
