// The words of a memory in an endless order that is known beforehand, so read ahead of their use:
// groups of GROUP words, each group REPEAT times, from the first word to the last and over again.
// Timing: II 1; `data` is the next word from the cycle after `advance` on. `primed` from the
// second cycle after reset on; no `advance` before.
// Memory: DEPTH words of WIDTH bits from FILE ($readmemh, one word a line); block RAM above 128
// words or 8192 bits, else logic.
module rom_stream #(
  parameter int WIDTH  = 8,
  parameter int DEPTH  = 512,
  parameter int GROUP  = 512,
  parameter int REPEAT = 1,
  parameter FILE       = ""
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             advance,
  output logic             primed,
  output logic [WIDTH-1:0] data
);

  localparam int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int TURN_BITS = REPEAT > 1 ? $clog2(REPEAT) : 1;

  if (DEPTH % GROUP != 0) begin : gen_check_group
    rom_stream_GROUP_must_divide_DEPTH check ();
  end

  logic step, last_word, group_ends;
  logic [ADDRESS_BITS-1:0] address_q, next_address;
  logic [WIDTH-1:0] word_q;

  assign step = advance || !primed;
  assign last_word = address_q == ADDRESS_BITS'(DEPTH - 1);
  always_ff @(posedge clk) primed <= rst_n;

  if (GROUP == 1 || GROUP == DEPTH) begin : gen_one_counter
    assign group_ends = GROUP == 1 || last_word;
  end else begin : gen_group
    logic [ADDRESS_BITS-1:0] place_q;
    assign group_ends = place_q == ADDRESS_BITS'(GROUP - 1);
    always_ff @(posedge clk) begin
      if (!rst_n) place_q <= '0;
      else if (step) place_q <= group_ends ? '0 : place_q + 1'b1;
    end
  end

  if (REPEAT == 1) begin : gen_once
    wire unused = group_ends;
    assign next_address = last_word ? '0 : address_q + 1'b1;
  end else begin : gen_turns
    logic [TURN_BITS-1:0] turn_q;
    logic [ADDRESS_BITS-1:0] start_q;
    logic last_turn;
    assign last_turn = turn_q == TURN_BITS'(REPEAT - 1);
    assign next_address = !group_ends ? address_q + 1'b1 : !last_turn ? start_q :
        last_word ? '0 : address_q + 1'b1;
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        turn_q  <= '0;
        start_q <= '0;
      end else if (step && group_ends) begin
        turn_q <= last_turn ? '0 : turn_q + 1'b1;
        if (last_turn) start_q <= next_address;
      end
    end
  end

  always_ff @(posedge clk) begin
    if (!rst_n) address_q <= '0;
    else if (step) address_q <= next_address;
  end

  if (DEPTH > 128 || DEPTH * WIDTH > 8192) begin : gen_block
    (* rom_style = "block" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) if (step) word_q <= mem[address_q];
  end else begin : gen_logic
    (* rom_style = "logic" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) if (step) word_q <= mem[address_q];
  end
  always_ff @(posedge clk) if (advance) data <= word_q;

endmodule
