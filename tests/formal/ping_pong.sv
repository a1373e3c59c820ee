// Two halves of BEATS words: a word is not written again before its half was read, a half that is
// `ready` is written whole, halves are read in the order in which they were written, and a write
// waits only for a reader that has two halves to read.
module ping_pong_properties #(
  parameter int BEATS = 3
) (
  input logic clk,
  input logic s_tvalid,
  input logic read_done
);

  logic rst_n, s_tready, write, ready;
  logic [$clog2(2 * BEATS)-1:0] write_address;
  logic [7:0] place;
  initial rst_n = 1'b0;
  always_ff @(posedge clk) rst_n <= 1'b1;

  ping_pong #(.BEATS(BEATS)) dut (
    .clk, .rst_n, .s_axis_tvalid(s_tvalid), .s_axis_tready(s_tready), .write, .write_address,
    .ready, .read_done
  );
  always_comb if (read_done) assume (ready);

  // `unread`: words written in halves that were not read yet; the reader is in half `reads`.
  logic reads;
  logic [7:0] unread, whole;
  index #(.MODULUS(2 * BEATS)) places (.clk, .rst_n, .step(write), .count(place));
  always_ff @(posedge clk) begin
    reads <= rst_n && (reads ^ read_done);
    unread <= rst_n ? unread + 8'(write) - (read_done ? 8'(BEATS) : 8'd0) : '0;
  end
  assign whole = unread < 8'(BEATS) ? 8'd0 : unread < 8'(2 * BEATS) ? 8'd1 : 8'd2;
  always_comb begin
    if (rst_n) begin
      assert (write == (s_tvalid && s_tready));
      assert (8'(write_address) == place);
      assert (unread <= 8'(2 * BEATS));
      assert (ready == (whole != '0));
      assert (s_tready == (whole != 8'd2));
      // The words from the start of the reader's half to the next write are those that are unread.
      assert (place == (reads ? 8'(BEATS) : 8'd0) + unread
        || place + 8'(2 * BEATS) == (reads ? 8'(BEATS) : 8'd0) + unread);
    end
  end
`ifdef INVARIANTS
  (* hierconn *) wire [1:0] \dut.full_q ;
  always_comb if (rst_n) assert (8'(\dut.full_q ) == whole);
`endif

endmodule
