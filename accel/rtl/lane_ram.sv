// Simple dual-port memory whose words are written by lanes: lane i of mem[write_address] where
// write[i]; write_data is the same for all lanes. read_data = mem[read_address], READ cycles later.
// Timing: II 1; READ = 2 in block RAM (a register keeps the memory off the critical path), else 1.
// A word may be read from the cycle after its write on, never in the cycle that writes it.
// Memory: DEPTH words of LANES*LANE_BITS bits; block RAM with write enables above 64 words, else
// distributed RAM.
module lane_ram #(
  parameter int LANES     = 4,
  parameter int LANE_BITS = 8,
  parameter int DEPTH     = 512,
  parameter int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic                       clk,
  input  logic [LANES-1:0]           write,
  input  logic [ADDRESS_BITS-1:0]    write_address,
  input  logic [LANE_BITS-1:0]       write_data,
  input  logic [ADDRESS_BITS-1:0]    read_address,
  output logic [LANES*LANE_BITS-1:0] read_data
);

  if (DEPTH > 64) begin : gen_block
    (* ram_style = "block", no_rw_check *)logic [LANES*LANE_BITS-1:0] mem[DEPTH];
    logic [LANES*LANE_BITS-1:0] word_q;
    always_ff @(posedge clk) begin
      for (int i = 0; i < LANES; i++)
        if (write[i]) mem[write_address][i*LANE_BITS+:LANE_BITS] <= write_data;
      word_q <= mem[read_address];
    end
    always_ff @(posedge clk) read_data <= word_q;
  end else begin : gen_distributed
    for (genvar i = 0; i < LANES; i++) begin : gen_lane
      (* ram_style = "distributed", no_rw_check *)logic [LANE_BITS-1:0] mem[DEPTH];
      logic [LANE_BITS-1:0] word_q;
      always_ff @(posedge clk) begin
        if (write[i]) mem[write_address] <= write_data;
        word_q <= mem[read_address];
      end
      assign read_data[i*LANE_BITS+:LANE_BITS] = word_q;
    end
  end

endmodule
