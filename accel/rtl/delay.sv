// y(t) = x(t - STAGES): a shift register, cleared by reset; STAGES = 0 is a wire.
module delay #(
  parameter int WIDTH  = 1,
  parameter int STAGES = 1
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic [WIDTH-1:0] x,
  output logic [WIDTH-1:0] y
);

  if (STAGES == 0) begin : gen_wire
    wire unused = &{1'b0, clk, rst_n};
    assign y = x;
  end else begin : gen_registers
    logic [STAGES*WIDTH-1:0] stages_q;
    if (STAGES == 1) begin : gen_one
      always_ff @(posedge clk) stages_q <= rst_n ? x : '0;
    end else begin : gen_many
      always_ff @(posedge clk) stages_q <= rst_n ? {stages_q[(STAGES-1)*WIDTH-1:0], x} : '0;
    end
    assign y = stages_q[(STAGES-1)*WIDTH+:WIDTH];
  end

endmodule
