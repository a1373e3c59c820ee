// Read-only memory with two read ports: {a, b}_data = mem[{a, b}_address], two cycles later.
// Timing: II 1, latency 2 (memory output, then a register).
// Memory: DEPTH words of WIDTH bits from FILE ($readmemh, one word a line); both ports of one true
// dual-port block RAM above 128 words, else logic.
module dual_rom #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 512,
  parameter int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1,
  parameter FILE = ""
) (
  input  logic                    clk,
  input  logic [ADDRESS_BITS-1:0] a_address,
  output logic [WIDTH-1:0]        a_data,
  input  logic [ADDRESS_BITS-1:0] b_address,
  output logic [WIDTH-1:0]        b_data
);

  logic [WIDTH-1:0] a_word_q, b_word_q;

  if (DEPTH > 128) begin : gen_block
    (* rom_style = "block" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) a_word_q <= mem[a_address];
    always_ff @(posedge clk) b_word_q <= mem[b_address];
  end else begin : gen_logic
    (* rom_style = "logic" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) a_word_q <= mem[a_address];
    always_ff @(posedge clk) b_word_q <= mem[b_address];
  end

  always_ff @(posedge clk) begin
    a_data <= a_word_q;
    b_data <= b_word_q;
  end

endmodule
