// sum = terms[0] + ... + terms[COUNT-1], signed.
// Timing: II 1, latency (ceil(log2(COUNT)) + 1) / 2: a register after every second level and at
// the root. Each level is one bit wider than the one before, so nothing overflows.
module adder_tree #(
  parameter int COUNT   = 12,
  parameter int IN_BITS = 16,
  parameter int LEVELS  = $clog2(COUNT),
  parameter int BITS    = IN_BITS + LEVELS
) (
  input  logic                     clk,
  input  logic [COUNT*IN_BITS-1:0] terms,
  output logic signed [BITS-1:0]   sum
);

  localparam int LEAVES = 1 << LEVELS;

  for (genvar l = 0; l <= LEVELS; l++) begin : gen_level
    localparam int NODES = LEAVES >> l;
    localparam int W = IN_BITS + l;
    logic [NODES*W-1:0] sums_d, sums;
    for (genvar n = 0; n < NODES; n++) begin : gen_node
      if (l > 0) begin : gen_add
        logic signed [W-2:0] left, right;
        assign left = gen_level[l-1].sums[(2*n)*(W-1)+:W-1];
        assign right = gen_level[l-1].sums[(2*n+1)*(W-1)+:W-1];
        assign sums_d[n*W+:W] = left + right;
      end else if (n < COUNT) begin : gen_leaf
        assign sums_d[n*W+:W] = terms[n*W+:W];
      end else begin : gen_zero
        assign sums_d[n*W+:W] = '0;
      end
    end
    if (l > 0 && (l % 2 == 0 || l == LEVELS)) begin : gen_register
      always_ff @(posedge clk) sums <= sums_d;
    end else begin : gen_wire
      assign sums = sums_d;
    end
  end

  assign sum = gen_level[LEVELS].sums;
  if (LEVELS == 0) begin : gen_no_clock
    wire unused = &{1'b0, clk};
  end

endmodule
