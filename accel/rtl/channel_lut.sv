// y[c] = table[c][x[c] - LOWEST], int8 or uint8 in, int8 out; PE channels in a beat. With B > 0 a
// table is 2**(8-B) + 1 knots, one every 2**B codes, and lines between them, rounded to the even
// integer at a tie, or up if HALF_UP = 1.
// Timing: II 1, latency 4, with knots 7.
// Memory: lane p reads {TABLE_FILE, "_", two digits of p, ".hex"}, (C/PE) * 2**(8-B) bytes: byte
// f * 2**(8-B) + k of table[f*PE+p]; of knots the last of each channel is in the file
// {..., "_last.hex"}, C/PE bytes.
module channel_lut #(
  parameter int C       = 96,
  parameter int PE      = 1,
  parameter int BEATS   = 6144,
  parameter int LOWEST  = -128,
  parameter int B       = 0,
  parameter int HALF_UP = 0,
  parameter TABLE_FILE  = ""
) (
  input  logic            clk,
  input  logic            rst_n,
  input  logic [PE*8-1:0] s_axis_tdata,
  input  logic            s_axis_tvalid,
  output logic            s_axis_tready,
  input  logic            s_axis_tlast,
  output logic [PE*8-1:0] m_axis_tdata,
  output logic            m_axis_tvalid,
  input  logic            m_axis_tready,
  output logic            m_axis_tlast
);

  localparam int FOLDS = C / PE;
  localparam int FOLD_BITS = FOLDS > 1 ? $clog2(FOLDS) : 1;

  if (C % PE != 0 || PE > 100) begin : gen_check_folding
    channel_lut_PE_must_divide_C_and_be_at_most_100 check ();
  end
  wire unused = s_axis_tlast;

  logic accept, push;
  logic [FOLD_BITS-1:0] fold_q;
  assign accept = s_axis_tvalid && s_axis_tready;
  always_ff @(posedge clk) begin
    if (!rst_n) fold_q <= '0;
    else if (accept) fold_q <= fold_q == FOLD_BITS'(FOLDS - 1) ? '0 : fold_q + 1'b1;
  end

  logic [PE*8-1:0] values;
  for (genvar p = 0; p < PE; p++) begin : gen_lane
    localparam logic [7:0] TENS = 8'(48 + p / 10);
    localparam logic [7:0] ONES = 8'(48 + p % 10);
    logic [7:0] index;
    assign index = s_axis_tdata[p*8+:8] - 8'(LOWEST);
    if (TABLE_FILE != "") begin : gen_table
      table_lane #(
        .FOLDS(FOLDS), .B(B), .HALF_UP(HALF_UP), .FILE({TABLE_FILE, "_", TENS, ONES, ".hex"}),
        .LAST_FILE({TABLE_FILE, "_", TENS, ONES, "_last.hex"})
      ) lane (
        .clk, .rst_n, .fold(fold_q), .index, .y(values[p*8+:8])
      );
    end else begin : gen_no_table
      table_lane #(
        .FOLDS(FOLDS), .B(B), .HALF_UP(HALF_UP)
      ) lane (
        .clk, .rst_n, .fold(fold_q), .index, .y(values[p*8+:8])
      );
    end
  end

  delay #(
    .STAGES(B == 0 ? 2 : 5)
  ) valid_delay (
    .clk, .rst_n, .x(accept), .y(push)
  );
  output_buffer #(
    .WIDTH(PE * 8), .BEATS(BEATS)
  ) out (
    .clk, .rst_n, .take(accept), .room(s_axis_tready), .push, .push_data(values),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
