// Tiles in order: stationary operands into a shadow, the stream against them, sums in the accumulators.
// What leaves: a row of accumulators each cycle, 6 cycles after its operand was asked for, with the tile's number.
// Timing: one row a cycle; the next stationary operands are loaded meanwhile.
// Memory: accumulators ROWS x 512 bits; the tiles in flight 16 x 256 bits.
module simd_array #(
  parameter int INPUTS = 16,
  parameter int ROWS   = 256,
  parameter int QUEUE  = 4
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic         tile_valid,
  input  logic [255:0] tile,
  output logic         tile_ready,
  output logic [15:0]  queued,
  input  logic [15:0]  retired,
  input  logic         image_ready,
  input  logic         weight_valid,
  input  logic [127:0] weight,
  output logic         weight_ready,
  output logic         held_read,
  output logic [1:0]   held_bank,
  output logic [11:0]  held_address,
  input  logic [127:0] held_data,
  output logic         stream_read,
  output logic [1:0]   stream_bank,
  output logic [11:0]  stream_address,
  input  logic [127:0] stream_data,
  output logic         row_ask,
  output logic [9:0]   row_ask_index,
  output logic         row_valid,
  output logic         row_last,
  output logic [9:0]   row_index,
  output logic [3:0]   row_tile,
  output logic [511:0] row_acc,
  output logic         started,
  output logic [3:0]   started_tile,
  output logic [255:0] started_fields,
  output logic [2:0]   stall
);

  `include "simd_isa.svh"

  localparam int QUEUE_BITS = $clog2(QUEUE) + 1;
  localparam int ROW_BITS = $clog2(ROWS);
  localparam int SPLIT = 16 / INPUTS;
  localparam int FILL_BITS = $clog2(INPUTS + 1);
  localparam int RESIDUAL_LATE = 12;  // cycles from a row's stream to its residual

  // The queue, read by the filler of the shadow and by the sequencer
  logic [255:0] queue[1 << (QUEUE_BITS - 1)];
  logic [15:0] fill_number, next_number;
  logic [255:0] fill_tile, next_tile;
  assign tile_ready = 16'(queued - fill_number) < 16'(QUEUE) && 16'(queued - next_number) < 16'(QUEUE);
  assign fill_tile = queue[fill_number[QUEUE_BITS-2:0]];
  assign next_tile = queue[next_number[QUEUE_BITS-2:0]];
  always_ff @(posedge clk) begin
    if (!rst_n) queued <= '0;
    else if (tile_valid && tile_ready) queued <= queued + 1'b1;
    if (tile_valid && tile_ready) queue[queued[QUEUE_BITS-2:0]] <= tile;
  end

  // Residuals that are still to be read, by bank
  logic [3:0] residual_left_q[4];
  logic issue, issue_residual;
  logic [1:0] issue_residual_bank;
  for (genvar b = 0; b < 4; b++) begin : gen_residual
    always_ff @(posedge clk) begin
      if (!rst_n) residual_left_q[b] <= '0;
      else if (issue && issue_residual && issue_residual_bank == 2'(b)) residual_left_q[b] <= 4'(RESIDUAL_LATE);
      else if (residual_left_q[b] != '0) residual_left_q[b] <= residual_left_q[b] - 1'b1;
    end
  end

  // Filling the shadow
  logic [INPUTS*128-1:0] shadow_q, active_q;
  logic full_q, filling_q, consume, consume_q, consume_qq, shadow_ready, fill_last;
  logic [FILL_BITS-1:0] filled_q, asked_q;
  logic [8:0] fills_q, fills;
  logic [1:0] fill_mode;
  logic [11:0] held_at_q;
  logic open, clear_to_fill, arrive, arrive_q, arrive_qq;
  logic [127:0] arriving;
  logic [255:0] current_q;
  assign fill_mode = fill_tile[TILE_MODE_AT+:2];
  assign fills = SPLIT == 2 ? {fill_tile[TILE_PASSES_AT+:8], 1'b0} : {1'b0, fill_tile[TILE_PASSES_AT+:8]};
  assign held_bank = fill_tile[TILE_HELD_BANK_AT+:2];
  assign clear_to_fill = fill_mode == 2'd0 || (residual_left_q[held_bank] == '0
      && !(fill_tile[TILE_DRAIN_AT] && retired != fill_number)
      && !(fill_tile[TILE_WAIT_IMAGE_AT] && !image_ready)
      && !(open && next_number != fill_number + 1'b1
           && (current_q[TILE_STREAM_BANK_AT+:2] == held_bank
               || (current_q[TILE_RESIDUAL_AT] && current_q[TILE_RESIDUAL_BANK_AT+:2] == held_bank)))
      && (next_number == fill_number || next_number == fill_number + 1'b1));
  assign held_read = filling_q && fill_mode == 2'd1 && asked_q != FILL_BITS'(INPUTS);
  assign held_address = held_at_q;
  assign weight_ready = filling_q && fill_mode == 2'd0 && filled_q != FILL_BITS'(INPUTS);
  assign arrive = fill_mode == 2'd0 ? weight_valid && weight_ready : arrive_qq;
  assign arriving = fill_mode == 2'd0 ? weight : held_data;
  assign fill_last = arrive && filled_q == FILL_BITS'(INPUTS - 1);
  assign shadow_ready = full_q && !consume_q && !consume_qq;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {full_q, filling_q, consume_q, consume_qq, arrive_q, arrive_qq} <= '0;
      {filled_q, asked_q, fills_q, held_at_q} <= '0;
      fill_number <= '0;
    end else begin
      consume_q <= consume;
      consume_qq <= consume_q;
      arrive_q <= held_read;
      arrive_qq <= arrive_q;
      if (consume_qq) full_q <= 1'b0;
      if (!filling_q && fill_number != queued && (!full_q || consume_qq || (fill_mode == 2'd1 && (consume || consume_q)))) begin
        if (fill_mode == 2'd2) fill_number <= fill_number + 1'b1;
        else if (clear_to_fill || fills_q != '0) begin
          filling_q <= 1'b1;
          filled_q <= '0;
          asked_q <= '0;
          if (fills_q == '0) begin
            fills_q <= fills;
            held_at_q <= fill_tile[TILE_HELD_ADDRESS_AT+:12];
          end
        end
      end
      if (held_read) begin
        asked_q <= asked_q + 1'b1;
        held_at_q <= held_at_q + 12'(fill_tile[TILE_HELD_STRIDE_AT+:8]);
      end
      if (arrive) filled_q <= filled_q + 1'b1;
      if (fill_last) begin
        filling_q <= 1'b0;
        full_q <= 1'b1;
        fills_q <= fills_q - 1'b1;
        if (fills_q == 9'd1) fill_number <= fill_number + 1'b1;
      end
    end
    if (arrive) shadow_q <= {arriving, shadow_q[INPUTS*128-1:128]};
    if (consume_qq) active_q <= shadow_q;
  end

  // Streaming
  logic streaming_q, last_row, at_end, can_next_pass, can_next_tile, next_copy;
  logic [8:0] pass_q, passes_q;
  logic [9:0] row_q;
  logic [11:0] address_q, pass_at_q;
  logic [3:0] tile_q;
  logic open_q;
  assign open = open_q;
  assign issue = streaming_q;
  assign issue_residual = current_q[TILE_RESIDUAL_AT];
  assign issue_residual_bank = current_q[TILE_RESIDUAL_BANK_AT+:2];
  assign stream_read = streaming_q;
  assign stream_bank = current_q[TILE_STREAM_BANK_AT+:2];
  assign stream_address = address_q;
  assign last_row = streaming_q && row_q == current_q[TILE_ROWS_AT+:10] - 1'b1;
  assign at_end = pass_q == passes_q - 1'b1;
  assign can_next_pass = open_q && (!streaming_q || last_row) && !at_end && shadow_ready;
  assign next_copy = next_tile[TILE_MODE_AT+:2] == 2'd2;
  logic blocked_image, blocked_drain, blocked_bank, blocked_operand;
  assign blocked_image = next_tile[TILE_WAIT_IMAGE_AT] && !image_ready;
  assign blocked_drain = (next_tile[TILE_DRAIN_AT] && retired != next_number) || 16'(next_number - retired) > 16'd14;
  assign blocked_bank = residual_left_q[next_tile[TILE_STREAM_BANK_AT+:2]] != '0
      || (issue && issue_residual && issue_residual_bank == next_tile[TILE_STREAM_BANK_AT+:2]);
  assign blocked_operand = !next_copy && !shadow_ready;
  assign can_next_tile = (!open_q || (last_row && at_end)) && next_number != queued && !blocked_image && !blocked_drain
      && !blocked_bank && !blocked_operand && (!next_copy || fill_number != next_number);
  assign consume = can_next_pass || (can_next_tile && !next_copy);
  assign started = can_next_tile;
  assign started_tile = next_number[3:0];
  assign started_fields = next_tile;
  // why the array waits: {image, drain or bank, operands or parameters}
  assign stall[0] = (!streaming_q || last_row)
      && (open_q && !at_end ? !shadow_ready : next_number == queued || (!blocked_image && !blocked_drain && blocked_operand));
  assign stall[1] = (!open_q || (last_row && at_end)) && next_number != queued && !blocked_image && (blocked_drain || blocked_bank);
  assign stall[2] = (!open_q || (last_row && at_end)) && next_number != queued && blocked_image;

  logic [8:0] first_passes;
  assign first_passes = next_copy ? 9'd1 : SPLIT == 2 ? {next_tile[TILE_PASSES_AT+:8], 1'b0} : {1'b0, next_tile[TILE_PASSES_AT+:8]};
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {streaming_q, open_q} <= '0;
      next_number <= '0;
    end else begin
      if (last_row) streaming_q <= 1'b0;
      if (last_row && at_end) open_q <= 1'b0;
      if (can_next_pass) streaming_q <= 1'b1;
      if (can_next_tile) begin
        {streaming_q, open_q} <= 2'b11;
        next_number <= next_number + 1'b1;
      end
    end
    if (streaming_q) begin
      row_q <= row_q + 1'b1;
      address_q <= address_q + 12'(current_q[TILE_STREAM_STRIDE_AT+:8]);
    end
    if (can_next_pass) begin
      pass_q <= pass_q + 1'b1;
      row_q <= '0;
      address_q <= SPLIT == 2 && !pass_q[0] ? pass_at_q : pass_at_q + 1'b1;
      pass_at_q <= SPLIT == 2 && !pass_q[0] ? pass_at_q : pass_at_q + 1'b1;
    end
    if (can_next_tile) begin
      current_q <= next_tile;
      tile_q <= next_number[3:0];
      pass_q <= '0;
      passes_q <= first_passes;
      row_q <= '0;
      address_q <= next_tile[TILE_STREAM_ADDRESS_AT+:12];
      pass_at_q <= next_tile[TILE_STREAM_ADDRESS_AT+:12];
    end
  end

  // What travels with a row: stage n is n cycles after its stream was asked for
  localparam int STAGES = 6;
  logic [STAGES:0] valid, first, final_pass, ends, copy, upper;
  logic [9:0] index[STAGES+1];
  logic [3:0] number[STAGES+1];
  assign valid[0] = streaming_q;
  assign first[0] = pass_q == '0;
  assign final_pass[0] = at_end;
  assign ends[0] = last_row;
  assign copy[0] = current_q[TILE_MODE_AT+:2] == 2'd2;
  assign upper[0] = SPLIT == 2 && pass_q[0];
  assign index[0] = row_q;
  assign number[0] = tile_q;
  for (genvar n = 1; n <= STAGES; n++) begin : gen_stage
    logic [5:0] flags_q;
    logic [9:0] index_q;
    logic [3:0] number_q;
    always_ff @(posedge clk) begin
      flags_q <= {rst_n && valid[n-1], first[n-1], final_pass[n-1], ends[n-1], copy[n-1], upper[n-1]};
      index_q <= index[n-1];
      number_q <= number[n-1];
    end
    assign {valid[n], first[n], final_pass[n], ends[n], copy[n], upper[n]} = flags_q;
    assign index[n] = index_q;
    assign number[n] = number_q;
  end

  wire unused_flags = &{1'b0, first[STAGES], copy[STAGES], upper[STAGES]};
  logic [127:0] copied_q, copied_qq, copied_qqq;
  logic [INPUTS*8-1:0] x;
  if (SPLIT == 2) begin : gen_half
    assign x = upper[2] ? stream_data[127:64] : stream_data[63:0];
  end else begin : gen_whole
    assign x = stream_data;
  end
  always_ff @(posedge clk) {copied_q, copied_qq, copied_qqq} <= {stream_data, copied_q, copied_qq};

  logic [511:0] kept, sums_q;
  for (genvar o = 0; o < 16; o++) begin : gen_output
    localparam int SUM_BITS = 16 + $clog2(INPUTS);
    logic [INPUTS*16-1:0] products_q;
    logic signed [SUM_BITS-1:0] sum, sum_at_5;
    for (genvar i = 0; i < INPUTS; i++) begin : gen_input
      always_ff @(posedge clk) products_q[i*16+:16] <= $signed(x[i*8+:8]) * $signed(active_q[i*128+o*8+:8]);
    end
    adder_tree #(
      .COUNT(INPUTS), .IN_BITS(16)
    ) tree (
      .clk, .terms(products_q), .sum
    );
    assign sum_at_5 = sum;
    logic signed [31:0] term;
    assign term = copy[5] ? 32'($signed(copied_qqq[o*8+:8])) : 32'(sum_at_5);
    always_ff @(posedge clk) sums_q[o*32+:32] <= (first[5] ? 32'd0 : kept[o*32+:32]) + term;
  end
  ram #(
    .WIDTH(512), .DEPTH(ROWS)
  ) accumulators (
    .clk, .write(valid[6]), .write_address(index[6][ROW_BITS-1:0]), .write_data(sums_q),
    .read_address(index[3][ROW_BITS-1:0]), .read_data(kept)
  );

  assign row_ask = valid[4];
  assign row_ask_index = index[4];
  assign row_valid = valid[6] && final_pass[6];
  assign row_last = ends[6];
  assign row_index = index[6];
  assign row_tile = number[6];
  assign row_acc = sums_q;

endmodule
