// The fixed engine: a network is a program in memory, see docs/simd.md. Registers: simd_control.
// An INPUTS x 16 array of int8 products; images as 4-byte beats in raster order, logits as int32 beats.
// Timing: accel/simd/timing.py.
module simd_engine #(
  parameter int INPUTS       = 16,
  parameter int IMAGE_WORDS  = 256,
  parameter int MATRIX_WORDS = 512,
  parameter int BANK_WORDS   = 2048,
  parameter int ROWS         = 256,
  parameter int TABLE_WORDS  = 2048,
  parameter int QUEUE        = 4,
  parameter int PREFETCH     = 512
) (
  input  logic         clk,
  input  logic         rst_n,
  input  logic [7:0]   s_axil_awaddr,
  input  logic         s_axil_awvalid,
  output logic         s_axil_awready,
  input  logic [31:0]  s_axil_wdata,
  input  logic         s_axil_wvalid,
  output logic         s_axil_wready,
  output logic [1:0]   s_axil_bresp,
  output logic         s_axil_bvalid,
  input  logic         s_axil_bready,
  input  logic [7:0]   s_axil_araddr,
  input  logic         s_axil_arvalid,
  output logic         s_axil_arready,
  output logic [31:0]  s_axil_rdata,
  output logic [1:0]   s_axil_rresp,
  output logic         s_axil_rvalid,
  input  logic         s_axil_rready,
  output logic [31:0]  m_axi_araddr,
  output logic [7:0]   m_axi_arlen,
  output logic [2:0]   m_axi_arsize,
  output logic [1:0]   m_axi_arburst,
  output logic         m_axi_arvalid,
  input  logic         m_axi_arready,
  input  logic [127:0] m_axi_rdata,
  input  logic [1:0]   m_axi_rresp,
  input  logic         m_axi_rlast,
  input  logic         m_axi_rvalid,
  output logic         m_axi_rready,
  input  logic [31:0]  s_axis_tdata,
  input  logic         s_axis_tvalid,
  output logic         s_axis_tready,
  input  logic         s_axis_tlast,
  output logic [31:0]  m_axis_tdata,
  output logic         m_axis_tvalid,
  input  logic         m_axis_tready,
  output logic         m_axis_tlast
);

  `include "simd_isa.svh"

  if (INPUTS != 8 && INPUTS != 16) begin : gen_check_inputs
    simd_engine_INPUTS_must_be_8_or_16 check ();
  end

  logic run, go_n, error, load_error, memory_error_q;
  logic [31:0] base;
  logic [23:0] length, loop_at, error_address;
  logic [3:0] load_code;
  logic [2:0] stall;
  assign go_n = rst_n && run;
  assign error = load_error || memory_error_q;
  assign m_axi_arsize = 3'd4;
  assign m_axi_arburst = 2'b01;
  wire unused = &{1'b0, m_axi_rlast, s_axis_tlast};
  always_ff @(posedge clk) begin
    if (!go_n) memory_error_q <= 1'b0;
    else if (m_axi_rvalid && m_axi_rresp != 2'b00) memory_error_q <= 1'b1;
  end

  logic [127:0] word;
  logic word_valid, word_ready, take_words;
  simd_fetch #(
    .DEPTH(PREFETCH)
  ) fetch (
    .clk, .rst_n(go_n), .base, .length, .loop_at, .m_axi_araddr, .m_axi_arlen, .m_axi_arvalid, .m_axi_arready,
    .m_axi_rdata, .m_axi_rvalid, .m_axi_rready, .word, .word_valid, .word_ready
  );

  logic tile_valid, tile_ready, weight_valid, weight_ready, image_arm, image_ready, send, send_ready;
  logic [255:0] instruction, started_fields;
  logic [15:0] queued, retired_q;
  logic [5:0] sink_write;
  logic [11:0] sink_address;
  assign take_words = word_valid && !error;
  simd_loader #(
    .ROWS(ROWS), .TABLE_WORDS(TABLE_WORDS), .MATRIX_WORDS(MATRIX_WORDS), .IMAGE_WORDS(IMAGE_WORDS), .BANK_WORDS(BANK_WORDS)
  ) loader (
    .clk, .rst_n(go_n), .loop_at, .word, .word_valid(take_words), .word_ready, .tile_valid, .instruction, .tile_ready,
    .queued, .retired(retired_q), .weight_valid, .weight_ready, .sink_write, .sink_address, .image_arm, .image_ready,
    .send, .send_ready, .error(load_error), .error_code(load_code), .error_address
  );

  logic [3:0] image_write;
  logic [11:0] image_address;
  logic [31:0] image_data;
  simd_image image (
    .clk, .rst_n(go_n), .colours_write(sink_write[5]), .colours_address(sink_address[5:0]), .colours_data(word),
    .arm(image_arm), .patch_beats(instruction[IMAGE_PATCH_BEATS_AT+:6]), .patch_lines(instruction[IMAGE_PATCH_LINES_AT+:6]),
    .across(instruction[IMAGE_ACROSS_AT+:8]), .down(instruction[IMAGE_DOWN_AT+:8]),
    .stride(instruction[IMAGE_STRIDE_AT+:8]), .colours(instruction[IMAGE_COLOURS_AT+:3]), .ready(image_ready),
    .s_axis_tdata, .s_axis_tvalid, .s_axis_tready, .write(image_write), .write_address(image_address), .write_data(image_data)
  );

  logic held_read, stream_read, residual_read, unused_ask, row_valid, row_last, started, retire;
  logic [1:0] held_bank, stream_bank, residual_bank, raw_bank, function_bank;
  logic [11:0] held_address, stream_address, residual_address, raw_address, function_address;
  logic [127:0] held_data, stream_data, residual_data, raw_data, function_data;
  logic [9:0] row_ask_index, row_index;
  logic [3:0] row_tile, started_tile;
  logic [511:0] row_acc, logits_data;
  logic raw_write, function_write, logits_write;
  logic [4:0] logits_count;
  simd_array #(
    .INPUTS(INPUTS), .ROWS(ROWS), .QUEUE(QUEUE)
  ) array (
    .clk, .rst_n(go_n), .tile_valid, .tile(instruction), .tile_ready, .queued, .retired(retired_q), .image_ready,
    .weight_valid, .weight(word), .weight_ready, .held_read, .held_bank, .held_address, .held_data, .stream_read,
    .stream_bank, .stream_address, .stream_data, .row_ask(unused_ask), .row_ask_index, .row_valid, .row_last, .row_index,
    .row_tile, .row_acc, .started, .started_tile, .started_fields, .stall
  );

  simd_lanes #(
    .ROWS(ROWS), .TABLE_WORDS(TABLE_WORDS)
  ) lanes (
    .clk, .rst_n(go_n), .started, .started_tile, .started_fields, .sink_write, .sink_address, .sink_data(word),
    .load(instruction), .row_ask_index, .row_valid, .row_last, .row_index, .row_tile, .row_acc, .residual_read,
    .residual_bank, .residual_address, .residual_data, .raw_write, .raw_bank, .raw_address, .raw_data, .function_write,
    .function_bank, .function_address, .function_data, .logits_write, .logits_count, .logits_data, .retire
  );
  always_ff @(posedge clk) begin
    if (!go_n) retired_q <= '0;
    else if (retire) retired_q <= retired_q + 1'b1;
  end

  simd_banks #(
    .IMAGE_WORDS(IMAGE_WORDS), .MATRIX_WORDS(MATRIX_WORDS), .BANK_WORDS(BANK_WORDS)
  ) banks (
    .clk, .read({residual_read, held_read, stream_read}), .read_bank({residual_bank, held_bank, stream_bank}),
    .read_address({residual_address, held_address, stream_address}), .read_data({residual_data, held_data, stream_data}),
    .image_write, .image_address, .image_data, .matrix_write(sink_write[4]), .matrix_address(sink_address),
    .matrix_data(word), .result_write({function_write, raw_write}), .result_bank({function_bank, raw_bank}),
    .result_address({function_address, raw_address}), .result_data({function_data, raw_data})
  );

  simd_output logits (
    .clk, .rst_n(go_n), .write(logits_write), .count(logits_count), .data(logits_data), .send, .send_ready,
    .send_count(instruction[SEND_COUNT_AT+:10]), .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

  simd_control control (
    .clk, .rst_n, .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready, .s_axil_araddr, .s_axil_arvalid, .s_axil_arready, .s_axil_rdata,
    .s_axil_rresp, .s_axil_rvalid, .s_axil_rready, .run, .base, .length, .loop_at, .error,
    .error_code(memory_error_q ? 4'd6 : load_code), .error_address,
    .image_sent(m_axis_tvalid && m_axis_tready && m_axis_tlast), .stall
  );

endmodule
