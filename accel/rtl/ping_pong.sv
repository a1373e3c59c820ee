// Control of a buffer of two halves of BEATS words: one fills while the other is read.
// A half is `ready` to be read from the cycle after its last write, and is written again from
// the cycle after `read_done`. write_address runs through both halves, 0 to 2*BEATS-1.
// Timing: no bubble, neither for writing nor for reading, if the slower side takes BEATS cycles
// or more. s_axis_tready comes from registers alone.
module ping_pong #(
  parameter int BEATS = 8,
  parameter int ADDRESS_BITS = $clog2(2 * BEATS)
) (
  input  logic                    clk,
  input  logic                    rst_n,
  input  logic                    s_axis_tvalid,
  output logic                    s_axis_tready,
  output logic                    write,
  output logic [ADDRESS_BITS-1:0] write_address,
  output logic                    ready,
  input  logic                    read_done
);

  logic [1:0] full_q;
  logic first_end, second_end;

  assign s_axis_tready = !full_q[1];
  assign write = s_axis_tvalid && s_axis_tready;
  assign ready = full_q != 2'd0;
  assign first_end = write_address == ADDRESS_BITS'(BEATS - 1);
  assign second_end = write_address == ADDRESS_BITS'(2 * BEATS - 1);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      write_address <= '0;
      full_q <= 2'd0;
    end else begin
      if (write) write_address <= second_end ? '0 : write_address + 1'b1;
      full_q <= full_q + 2'(write && (first_end || second_end)) - 2'(read_done);
    end
  end

endmodule
