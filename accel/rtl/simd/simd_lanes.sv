// Sixteen lanes behind the accumulators: main, branch, sum with the residual, function; see docs/simd.md.
// A row comes in at stage 6 (cycles after its stream was asked for): residual asked for at 9, both results written at 24.
// Timing: one row a cycle, never stalls.
// Memory: 4 sets of parameters a slot; ROWS row parameters; 16 tables of TABLE_WORDS bytes.
module simd_lanes #(
  parameter int ROWS        = 256,
  parameter int TABLE_WORDS = 2048
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic         started,
  input  logic [3:0]   started_tile,
  input  logic [255:0] started_fields,
  input  logic [5:0]   sink_write,
  input  logic [11:0]  sink_address,
  input  logic [127:0] sink_data,
  input  logic [255:0] load,
  input  logic [9:0]   row_ask_index,
  input  logic         row_valid,
  input  logic         row_last,
  input  logic [9:0]   row_index,
  input  logic [3:0]   row_tile,
  input  logic [511:0] row_acc,
  output logic         residual_read,
  output logic [1:0]   residual_bank,
  output logic [11:0]  residual_address,
  input  logic [127:0] residual_data,
  output logic         raw_write,
  output logic [1:0]   raw_bank,
  output logic [11:0]  raw_address,
  output logic [127:0] raw_data,
  output logic         function_write,
  output logic [1:0]   function_bank,
  output logic [11:0]  function_address,
  output logic [127:0] function_data,
  output logic         logits_write,
  output logic [4:0]   logits_count,
  output logic [511:0] logits_data,
  output logic         retire
);

  `include "simd_isa.svh"

  localparam int STAGES = 24;
  localparam int TABLE_BITS = $clog2(TABLE_WORDS);
  localparam int ROW_BITS = $clog2(ROWS);

  // The tiles in flight, and what travels with a row
  logic [255:0] tiles[16];
  always_ff @(posedge clk) if (started) tiles[started_tile] <= started_fields;
  logic [STAGES:6] valid, last;
  logic [3:0] number[STAGES+1];
  logic [9:0] index[STAGES+1];
  logic [11:0] offset[STAGES+1];  // row * out_stride, from stage 8 on
  assign valid[6] = row_valid;
  assign last[6] = row_last;
  assign number[6] = row_tile;
  assign index[6] = row_index;
  for (genvar n = 7; n <= STAGES; n++) begin : gen_stage
    logic valid_q, last_q;
    logic [3:0] number_q;
    logic [9:0] index_q;
    always_ff @(posedge clk) begin
      valid_q <= rst_n && valid[n-1];
      last_q <= last[n-1];
      number_q <= number[n-1];
      index_q <= index[n-1];
    end
    assign valid[n] = valid_q;
    assign last[n] = last_q;
    assign number[n] = number_q;
    assign index[n] = index_q;
    if (n >= 8) begin : gen_offset
      logic [11:0] offset_q;
      if (n == 8) begin : gen_product
        always_ff @(posedge clk) offset_q <= 12'(index[n-1] * 12'(tiles[number[n-1]][TILE_OUT_STRIDE_AT+:8]));
      end else begin : gen_copy
        always_ff @(posedge clk) offset_q <= offset[n-1];
      end
      assign offset[n] = offset_q;
    end
  end
  logic [255:0] t6, t9, t11, t16, t18, t19, t24;
  assign t6 = tiles[number[6]];
  assign t9 = tiles[number[9]];
  assign t11 = tiles[number[11]];
  assign t16 = tiles[number[16]];
  assign t18 = tiles[number[18]];
  assign t19 = tiles[number[19]];
  assign t24 = tiles[number[24]];
  wire unused = &{1'b0, sink_write[5:4], sink_write[0], sink_address[11], row_ask_index, t11, t18};

  // Parameters that are the same for all lanes, and those of rows
  logic [16:0] limits[4][4];  // by slot and set: {half_up, hi, lo}
  logic [16:0] row_limits_q;
  logic [1:0] load_slot, load_set;
  assign load_slot = load[LOAD_SLOT_AT+:2];
  assign load_set = load[LOAD_SET_AT+:2];
  always_ff @(posedge clk) begin
    if (sink_write[1]) limits[load_slot][load_set] <= {load[LOAD_HALF_UP_AT], load[LOAD_HI_AT+:8], load[LOAD_LO_AT+:8]};
    if (sink_write[2]) row_limits_q <= {load[LOAD_HALF_UP_AT], load[LOAD_HI_AT+:8], load[LOAD_LO_AT+:8]};
  end
  logic [127:0] row_pair;
  logic [63:0] row_entry;
  ram #(
    .WIDTH(128), .DEPTH(ROWS / 2)
  ) row_parameters (
    .clk, .write(sink_write[2]), .write_address(sink_address[ROW_BITS-2:0]), .write_data(sink_data),
    .read_address(row_ask_index[ROW_BITS-1:1]), .read_data(row_pair)
  );
  assign row_entry = index[6][0] ? row_pair[127:64] : row_pair[63:0];
  logic by_row;
  logic [1:0] set6, set11, set19;
  assign by_row = t6[TILE_ROW_PARAMETERS_AT];
  assign set6 = t6[TILE_SET_AT+:2];
  assign set11 = t11[TILE_SET_AT+:2];
  assign set19 = t19[TILE_SET_AT+:2];
  logic [16:0] main_limits;
  assign main_limits = by_row ? row_limits_q : limits[0][set6];

  logic [511:0] wide_q;
  logic [127:0] narrow;
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [63:0] entries[4][4];  // by slot and set: bias, mult, shift
    logic signed [7:0] y, y_branch, y_late, residual_x, r, total_clipped, y_out, f_affine, f_table;
    logic [39:0] y_delay_q, r_delay_q;
    logic [63:0] main, branch, residual, last_entry;
    always_ff @(posedge clk)
      if (sink_write[1] && sink_address[2:0] == 3'(l / 2)) entries[load_slot][load_set] <= sink_data[(l%2)*64+:64];
    assign main = by_row ? row_entry : entries[0][set6];
    assign branch = entries[1][set11];
    assign residual = entries[2][set11];
    assign last_entry = entries[3][set19];
    wire unused_bits = &{1'b0, main[63:53], main[47:32], branch[63:53], residual[63:53], last_entry[63:53]};

    simd_scale #(
      .BITS(32), .MULTIPLY(0)
    ) main_scale (
      .clk, .x(row_acc[l*32+:32]), .mult(16'd1), .bias(main[31:0]), .shift(main[52:48]), .half_up(main_limits[16]),
      .lo(main_limits[7:0]), .hi(main_limits[15:8]), .y
    );
    always_ff @(posedge clk) wide_q[l*32+:32] <= row_acc[l*32+:32] + main[31:0];

    // Stages 11 to 16
    assign residual_x = residual_data[l*8+:8];
    simd_scale branch_scale (
      .clk, .x(y), .mult(branch[47:32]), .bias(branch[31:0]), .shift(branch[52:48]), .half_up(limits[1][set11][16]),
      .lo(limits[1][set11][7:0]), .hi(limits[1][set11][15:8]), .y(y_branch)
    );
    simd_scale residual_scale (
      .clk, .x(residual_x), .mult(residual[47:32]), .bias(residual[31:0]), .shift(residual[52:48]),
      .half_up(limits[2][set11][16]), .lo(limits[2][set11][7:0]), .hi(limits[2][set11][15:8]), .y(r)
    );
    always_ff @(posedge clk) begin
      y_delay_q <= {y, y_delay_q[39:8]};
      r_delay_q <= {residual_x, r_delay_q[39:8]};
    end
    logic signed [7:0] y16, r16;
    assign y16 = t16[TILE_BRANCH_AFFINE_AT] ? y_branch : y_delay_q[7:0];
    assign r16 = t16[TILE_RESIDUAL_AFFINE_AT] ? r : r_delay_q[7:0];

    // Stages 16 to 19: the sum
    logic signed [24:0] total_q, half_q, shifted;
    logic signed [25:0] rounded_q;
    logic [4:0] shift_q;
    logic [255:0] t17;
    logic odd;
    logic [23:0] plain_q;
    assign t17 = tiles[number[17]];
    always_ff @(posedge clk) total_q <= (25'(y16) <<< t16[TILE_BRANCH_LEFT_AT+:4]) + (25'(r16) <<< t16[TILE_RESIDUAL_LEFT_AT+:4]);
    assign odd = 1'(total_q >>> t17[TILE_SUM_SHIFT_AT+:5]);
    for (genvar i = 0; i < 25; i++) begin : gen_half
      assign half_q[i] = int'(t17[TILE_SUM_SHIFT_AT+:5]) > i + 1;
    end
    always_ff @(posedge clk) begin
      rounded_q <= {total_q, 1'b1} + {half_q, t17[TILE_SUM_SHIFT_AT+:5] != '0 && (t17[TILE_SUM_HALF_UP_AT] || odd)};
      shift_q <= t17[TILE_SUM_SHIFT_AT+:5];
      plain_q <= {y16, plain_q[23:8]};
    end
    assign shifted = $signed(rounded_q[25:1]) >>> shift_q;
    wire unused_half = rounded_q[0];
    always_ff @(posedge clk) begin
      if (shifted < 25'($signed(t18[TILE_SUM_LO_AT+:8]))) total_clipped <= t18[TILE_SUM_LO_AT+:8];
      else if (shifted > 25'($signed(t18[TILE_SUM_HI_AT+:8]))) total_clipped <= t18[TILE_SUM_HI_AT+:8];
      else total_clipped <= shifted[7:0];
    end
    assign y_late = plain_q[7:0];
    assign y_out = t19[TILE_RESIDUAL_AT] ? total_clipped : y_late;
    logic [39:0] raw_delay_q;
    always_ff @(posedge clk) raw_delay_q <= {y_out, raw_delay_q[39:8]};
    assign raw_data[l*8+:8] = raw_delay_q[7:0];
    assign narrow[l*8+:8] = y_out;

    // Stages 19 to 24: the function
    simd_scale function_scale (
      .clk, .x(y_out), .mult(last_entry[47:32]), .bias(last_entry[31:0]), .shift(last_entry[52:48]),
      .half_up(limits[3][set19][16]), .lo(limits[3][set19][7:0]), .hi(limits[3][set19][15:8]), .y(f_affine)
    );
    simd_table #(
      .WORDS(TABLE_WORDS)
    ) lane_table (
      .clk, .write(sink_write[3]), .write_address(sink_address[TABLE_BITS-1:0]), .write_data(sink_data[l*8+:8]),
      .x(y_out), .address(t19[TILE_TABLE_ADDRESS_AT+:TABLE_BITS]), .bits(t19[TILE_TABLE_BITS_AT+:3]),
      .half_up(t19[TILE_TABLE_HALF_UP_AT]), .y(f_table)
    );
    assign function_data[l*8+:8] = t24[TILE_FUNCTION_AT+:2] == 2'd2 ? f_table : f_affine;
  end

  assign residual_read = valid[9] && t9[TILE_RESIDUAL_AT];
  assign residual_bank = t9[TILE_RESIDUAL_BANK_AT+:2];
  assign residual_address = t9[TILE_RESIDUAL_ADDRESS_AT+:12] + offset[9];
  assign raw_write = valid[24] && t24[TILE_RAW_AT];
  assign raw_bank = t24[TILE_RAW_BANK_AT+:2];
  assign raw_address = t24[TILE_RAW_ADDRESS_AT+:12] + offset[24];
  assign function_write = valid[24] && t24[TILE_FUNCTION_AT+:2] != '0;
  assign function_bank = t24[TILE_FUNCTION_BANK_AT+:2];
  assign function_address = t24[TILE_FUNCTION_ADDRESS_AT+:12] + offset[24];
  assign retire = valid[24] && last[24];

  // Logits of row 0: wide ones at stage 7, rounded ones at stage 19
  logic [255:0] t7;
  logic wide_now, narrow_now;
  assign t7 = tiles[number[7]];
  assign wide_now = valid[7] && index[7] == '0 && t7[TILE_WIDE_AT];
  assign narrow_now = valid[19] && index[19] == '0 && !t19[TILE_WIDE_AT];
  always_comb begin
    logits_write = 1'b0;
    logits_count = t19[TILE_LOGITS_AT+:5];
    logits_data = '0;
    for (int l = 0; l < 16; l++) logits_data[l*32+:32] = 32'($signed(narrow[l*8+:8]));
    if (wide_now && t7[TILE_LOGITS_AT+:5] != '0) begin
      logits_write = 1'b1;
      logits_count = t7[TILE_LOGITS_AT+:5];
      logits_data = wide_q;
    end else if (narrow_now && t19[TILE_LOGITS_AT+:5] != '0) logits_write = 1'b1;
  end

endmodule
