// Read-only memory: data = mem[address], two cycles after the address.
// Timing: II 1, latency 2 (memory output, then a register).
// Memory: DEPTH words of WIDTH bits from FILE ($readmemh, one word a line); block RAM above 128
// words, else logic.
module rom #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 512,
  parameter int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1,
  parameter FILE = ""
) (
  input  logic                    clk,
  input  logic [ADDRESS_BITS-1:0] address,
  output logic [WIDTH-1:0]        data
);

  logic [WIDTH-1:0] word_q;

  if (DEPTH > 128) begin : gen_block
    (* rom_style = "block" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) word_q <= mem[address];
  end else begin : gen_logic
    (* rom_style = "logic" *)logic [WIDTH-1:0] mem[DEPTH];
    initial if (FILE != "") $readmemh(FILE, mem);
    always_ff @(posedge clk) word_q <= mem[address];
  end

  always_ff @(posedge clk) data <= word_q;

endmodule
