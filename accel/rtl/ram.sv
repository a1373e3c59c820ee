// Simple dual-port memory: data = mem[read_address], two cycles after the address.
// Timing: II 1; read latency 2 (memory output, then a register that keeps the memory off the
// critical path). A word may be read from the cycle after its write on.
// Memory: DEPTH words of WIDTH bits, any DEPTH; block RAM above 64 words, else distributed RAM.
// A word is never read in the cycle that writes it, so no read/write collision logic is asked for.
module ram #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 512,
  parameter int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic                    clk,
  input  logic                    write,
  input  logic [ADDRESS_BITS-1:0] write_address,
  input  logic [WIDTH-1:0]        write_data,
  input  logic [ADDRESS_BITS-1:0] read_address,
  output logic [WIDTH-1:0]        read_data
);

  logic [WIDTH-1:0] word_q;

  if (DEPTH > 64) begin : gen_block
    (* ram_style = "block", no_rw_check *)logic [WIDTH-1:0] mem[DEPTH];
    always_ff @(posedge clk) begin
      if (write) mem[write_address] <= write_data;
      word_q <= mem[read_address];
    end
  end else begin : gen_distributed
    (* ram_style = "distributed", no_rw_check *)logic [WIDTH-1:0] mem[DEPTH];
    always_ff @(posedge clk) begin
      if (write) mem[write_address] <= write_data;
      word_q <= mem[read_address];
    end
  end

  always_ff @(posedge clk) read_data <= word_q;

endmodule
