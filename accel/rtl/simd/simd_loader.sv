// Reads instructions and the words behind them, checks both, writes parameters where they belong and queues tiles.
// On a fault `error` rises with its code and the instruction's byte offset, and nothing moves any more.
// Timing: a TILE 4 cycles, any other instruction 3, a word of a LOAD one.
module simd_loader #(
  parameter int ROWS         = 256,
  parameter int TABLE_WORDS  = 2048,
  parameter int MATRIX_WORDS = 512,
  parameter int IMAGE_WORDS  = 256,
  parameter int BANK_WORDS   = 2048
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic [23:0]  loop_at,
  input  logic [127:0] word,
  input  logic         word_valid,
  output logic         word_ready,
  output logic         tile_valid,
  output logic [255:0] instruction,
  input  logic         tile_ready,
  input  logic [15:0]  queued,
  input  logic [15:0]  retired,
  output logic         weight_valid,
  input  logic         weight_ready,
  output logic [5:0]   sink_write,
  output logic [11:0]  sink_address,
  output logic         image_arm,
  input  logic         image_ready,
  output logic         send,
  input  logic         send_ready,
  output logic         error,
  output logic [3:0]   error_code,
  output logic [23:0]  error_address
);

  `include "simd_isa.svh"

  localparam logic [3:0] BAD_CHECKSUM = 4'd1, BAD_OPCODE = 4'd2, BAD_ADDRESS = 4'd3, BAD_ORDER = 4'd4, BAD_SUM = 4'd5;
  typedef enum logic [2:0] {HEAD0, HEAD1, EXECUTE, PAYLOAD, STOPPED} state_t;
  state_t state_q;
  logic [15:0] sum16_q;
  logic [31:0] sum_q, sum_before_q;
  logic [23:0] at_q;
  logic [15:0] weights_left_q;  // words that the last tile still waits for
  logic [9:0] logits_q;
  logic sent_q, armed_q, settled_q;  // settled: a tile's last words are computed
  logic [12:0] left_q;

  function automatic logic [15:0] halves(input logic [127:0] w);
    halves = w[15:0] + w[31:16] + w[47:32] + w[63:48] + w[79:64] + w[95:80] + w[111:96] + w[127:112];
  endfunction

  // Fields
  logic [7:0] opcode;
  logic [2:0] sink;
  logic [12:0] words;
  logic [11:0] address;
  assign opcode = instruction[7:0];
  assign sink = instruction[LOAD_SINK_AT+:3];
  assign words = instruction[LOAD_WORDS_AT+:13];
  assign address = instruction[LOAD_ADDRESS_AT+:12];

  // Words of the sinks, of the banks
  logic load_fits;
  logic [13:0] load_end;
  assign load_end = 14'(address) + 14'(words);
  always_comb begin
    case (sink)
      3'd0: load_fits = 1'b1;
      3'd1: load_fits = words == 13'd8;
      3'd2: load_fits = load_end <= 14'(ROWS / 2);
      3'd3: load_fits = load_end <= 14'(TABLE_WORDS);
      3'd4: load_fits = load_end <= 14'(MATRIX_WORDS);
      3'd5: load_fits = load_end <= 14'd64;
      default: load_fits = 1'b0;
    endcase
  end

  function automatic logic fits_bank(input logic [1:0] bank, input logic [23:0] last);
    case (bank)
      2'd0: fits_bank = last < 24'(IMAGE_WORDS);
      2'd1: fits_bank = last < 24'(MATRIX_WORDS);
      default: fits_bank = last < 24'(BANK_WORDS);
    endcase
  endfunction

  logic [1:0] mode, stream_bank, held_bank, residual_bank, raw_bank, function_bank, kind;
  logic [7:0] passes;
  logic [9:0] rows, rows_less;
  logic residual, raw, held, tile_good_q;
  logic [23:0] stream_last_q, held_last_q, reach_q;
  logic [8:0] table_words;
  logic [4:0] logits;
  assign mode = instruction[TILE_MODE_AT+:2];
  assign held = mode == 2'd1;
  assign stream_bank = instruction[TILE_STREAM_BANK_AT+:2];
  assign held_bank = instruction[TILE_HELD_BANK_AT+:2];
  assign residual_bank = instruction[TILE_RESIDUAL_BANK_AT+:2];
  assign raw_bank = instruction[TILE_RAW_BANK_AT+:2];
  assign function_bank = instruction[TILE_FUNCTION_BANK_AT+:2];
  assign kind = instruction[TILE_FUNCTION_AT+:2];
  assign passes = instruction[TILE_PASSES_AT+:8];
  assign rows = instruction[TILE_ROWS_AT+:10];
  assign rows_less = rows - 1'b1;
  assign residual = instruction[TILE_RESIDUAL_AT];
  assign raw = instruction[TILE_RAW_AT];
  assign logits = instruction[TILE_LOGITS_AT+:5];
  assign table_words = instruction[TILE_TABLE_BITS_AT+:3] == '0 ? 9'd256
      : (9'd256 >> instruction[TILE_TABLE_BITS_AT+:3]) + 9'd1;
  always_ff @(posedge clk) begin
    stream_last_q <= 24'(instruction[TILE_STREAM_ADDRESS_AT+:12]) + rows_less * instruction[TILE_STREAM_STRIDE_AT+:8]
        + 24'(passes) - 1'b1;
    held_last_q <= 24'(instruction[TILE_HELD_ADDRESS_AT+:12])
        + (24'({passes, 4'd0}) - 1'b1) * instruction[TILE_HELD_STRIDE_AT+:8];
    reach_q <= rows_less * 24'(instruction[TILE_OUT_STRIDE_AT+:8]);
  end
  assign tile_good_q = rows != '0 && rows <= 10'(ROWS) && passes != '0 && mode != 2'd3
      && (mode != 2'd2 || passes == 8'd1) && fits_bank(stream_bank, stream_last_q)
      && (!held || (fits_bank(held_bank, held_last_q) && held_bank != stream_bank))
      && (!residual || (fits_bank(residual_bank, 24'(instruction[TILE_RESIDUAL_ADDRESS_AT+:12]) + reach_q)
          && residual_bank != stream_bank && !(held && residual_bank == held_bank)))
      && (!raw || (fits_bank(raw_bank, 24'(instruction[TILE_RAW_ADDRESS_AT+:12]) + reach_q) && raw_bank[1]))
      && (kind == '0 || (fits_bank(function_bank, 24'(instruction[TILE_FUNCTION_ADDRESS_AT+:12]) + reach_q)
          && function_bank[1] && !(raw && function_bank == raw_bank)))
      && kind != 2'd3 && logits <= 5'd16
      && (kind != 2'd2 || 12'(instruction[TILE_TABLE_ADDRESS_AT+:11]) + 12'(table_words) <= 12'(TABLE_WORDS));

  // Bits beyond the fields
  logic beyond;
  always_comb begin
    case (opcode)
      8'(LOAD): beyond = |instruction[239:LOAD_END];
      8'(WAIT): beyond = |instruction[239:WAIT_END];
      8'(IMAGE): beyond = |instruction[239:IMAGE_END];
      8'(TILE): beyond = |instruction[239:TILE_END];
      8'(CHECK): beyond = |instruction[239:CHECK_END];
      8'(SEND): beyond = |instruction[239:SEND_END];
      8'(LOOP): beyond = |instruction[239:LOOP_END];
      default: beyond = 1'b1;
    endcase
  end

  logic patch_good;
  logic [15:0] patch_quads;
  logic [23:0] patch_words;
  assign patch_quads = instruction[IMAGE_PATCH_BEATS_AT+:6] * 16'(instruction[IMAGE_PATCH_LINES_AT+:6]);
  assign patch_words = 24'(instruction[IMAGE_ACROSS_AT+:8] * 16'(instruction[IMAGE_DOWN_AT+:8]))
      * instruction[IMAGE_STRIDE_AT+:8];
  assign patch_good = 16'(instruction[IMAGE_STRIDE_AT+:8]) * 16'd4 >= patch_quads && patch_words <= 24'(IMAGE_WORDS)
      && patch_quads != '0 && patch_words != '0 && instruction[IMAGE_COLOURS_AT+:3] != '0
      && instruction[IMAGE_COLOURS_AT+:3] <= 3'd4;

  logic [15:0] outstanding;
  logic waits_forever, take, to_weights;
  assign outstanding = queued - retired;
  // A tile whose weights come behind this instruction cannot retire before it.
  assign waits_forever = weights_left_q != '0 && instruction[WAIT_PENDING_AT+:8] == '0;
  assign to_weights = state_q == PAYLOAD && sink == 3'd0;
  assign word_ready = state_q == HEAD0 || state_q == HEAD1 || (state_q == PAYLOAD && (!to_weights || weight_ready));
  assign weight_valid = to_weights && word_valid;
  assign take = word_valid && word_ready;
  assign sink_address = sink == 3'd1 ? 12'd8 - 12'(left_q) : address + 12'(words - left_q);
  always_comb begin
    sink_write = '0;
    if (state_q == PAYLOAD && word_valid) sink_write[sink] = sink != 3'd0;
  end
  assign tile_valid = state_q == EXECUTE && opcode == 8'(TILE) && go;

  logic go;  // the instruction is done
  logic [3:0] fault;
  always_comb begin
    go = 1'b0;
    fault = '0;
    case (opcode)
      8'(LOAD): begin
        if (!load_fits) fault = BAD_ADDRESS;
        else if (sink == 3'd0 && 16'(words) > weights_left_q) fault = BAD_ORDER;
        else go = 1'b1;
      end
      8'(WAIT): begin
        if (waits_forever) fault = BAD_ORDER;
        else go = outstanding <= 16'(instruction[WAIT_PENDING_AT+:8]);
      end
      8'(IMAGE): begin
        if (!patch_good) fault = BAD_ADDRESS;
        else if (weights_left_q != '0) fault = BAD_ORDER;
        else go = !armed_q || image_ready;
      end
      8'(TILE): begin
        if (weights_left_q != '0 || (instruction[TILE_WAIT_IMAGE_AT] && !armed_q)) fault = BAD_ORDER;
        else if (settled_q && !tile_good_q) fault = BAD_ADDRESS;
        else go = settled_q && tile_ready;
      end
      8'(CHECK): begin
        if (instruction[CHECK_SUM_AT+:32] != sum_before_q) fault = BAD_SUM;
        else if (weights_left_q != '0) fault = BAD_ORDER;
        else go = 1'b1;
      end
      8'(SEND): begin
        if (weights_left_q != '0 || instruction[SEND_COUNT_AT+:10] != logits_q) fault = BAD_ORDER;
        else go = send_ready;
      end
      8'(LOOP): begin
        if (weights_left_q != '0 || !sent_q) fault = BAD_ORDER;
        else go = 1'b1;
      end
      default: fault = BAD_OPCODE;
    endcase
    if (beyond) fault = BAD_OPCODE;
    if (sum16_q != instruction[255:240]) fault = BAD_CHECKSUM;
    if (fault != '0) go = 1'b0;
  end
  assign image_arm = state_q == EXECUTE && opcode == 8'(IMAGE) && go;
  assign send = state_q == EXECUTE && opcode == 8'(SEND) && go;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      state_q <= HEAD0;
      {sum_q, sum_before_q, at_q, weights_left_q, logits_q, sent_q, armed_q, settled_q, left_q} <= '0;
      {error, error_code, error_address, sum16_q} <= '0;
    end else begin
      settled_q <= state_q == EXECUTE;
      if (take) begin
        sum_q <= sum_q + word[31:0] + word[63:32] + word[95:64] + word[127:96];
        at_q <= at_q + 24'd16;
      end
      case (state_q)
        HEAD0: if (take) begin
          error_address <= at_q;
          sum_before_q <= sum_q;
          sum16_q <= halves(word) + 16'hA5A5;
          state_q <= HEAD1;
        end
        HEAD1: if (take) begin
          sum16_q <= sum16_q + halves({16'd0, word[111:0]});
          state_q <= EXECUTE;
        end
        EXECUTE: begin
          if (fault != '0) begin
            {error, error_code} <= {1'b1, fault};
            state_q <= STOPPED;
          end else if (go) begin
            state_q <= HEAD0;
            case (opcode)
              8'(LOAD): if (words != '0) begin
                state_q <= PAYLOAD;
                left_q <= words;
              end
              8'(IMAGE): armed_q <= 1'b1;
              8'(TILE): begin
                if (mode == 2'd0) weights_left_q <= {4'd0, passes, 4'd0};
                logits_q <= logits_q + 10'(logits);
              end
              8'(CHECK): sum_q <= '0;
              8'(SEND): begin
                logits_q <= '0;
                sent_q <= 1'b1;
              end
              8'(LOOP): begin
                sum_q <= '0;
                sent_q <= 1'b0;
                at_q <= loop_at;
              end
              default: ;
            endcase
          end
        end
        PAYLOAD: if (take) begin
          if (to_weights) weights_left_q <= weights_left_q - 1'b1;
          left_q <= left_q - 1'b1;
          if (left_q == 13'd1) state_q <= HEAD0;
        end
        default: ;
      endcase
    end
    if (state_q == HEAD0 && take) instruction[127:0] <= word;
    if (state_q == HEAD1 && take) instruction[255:128] <= word;
  end

endmodule
