// First in, first out: holds DEPTH beats of PE elements (any DEPTH), TLAST beside the data.
// Timing: II 1 from DEPTH 3 on; latency 2 up to 64 beats, 5 above.
// Memory: up to 64 beats distributed RAM; above that block RAM with a registered output, and the
// 16 places of the output buffer behind it.
module fifo #(
  parameter int PE    = 1,
  parameter int BITS  = 8,
  parameter int DEPTH = 16
) (
  input  logic               clk,
  input  logic               rst_n,
  input  logic [PE*BITS-1:0] s_axis_tdata,
  input  logic               s_axis_tvalid,
  output logic               s_axis_tready,
  input  logic               s_axis_tlast,
  output logic [PE*BITS-1:0] m_axis_tdata,
  output logic               m_axis_tvalid,
  input  logic               m_axis_tready,
  output logic               m_axis_tlast
);

  localparam int WIDTH = PE * BITS + 1;
  logic accept, unused;
  assign accept = s_axis_tvalid && s_axis_tready;

  if (DEPTH < 1) begin : gen_check_depth
    fifo_DEPTH_must_be_at_least_1 check ();
  end

  if (DEPTH <= 64) begin : gen_small
    output_buffer #(
      .WIDTH(WIDTH), .DEPTH(DEPTH)
    ) out (
      .clk, .rst_n, .take(accept), .room(s_axis_tready), .push(accept),
      .push_data({s_axis_tlast, s_axis_tdata}), .m_axis_tdata({m_axis_tlast, m_axis_tdata}),
      .m_axis_tvalid, .m_axis_tready, .m_axis_tlast(unused)
    );
  end else begin : gen_large
    localparam int ADDRESS_BITS = $clog2(DEPTH);
    localparam int COUNT_BITS = $clog2(DEPTH + 1);
    localparam logic [ADDRESS_BITS-1:0] LAST_ADDRESS = ADDRESS_BITS'(DEPTH - 1);
    logic [ADDRESS_BITS-1:0] write_q, read_q;
    logic [COUNT_BITS-1:0] stored_q;
    logic [WIDTH-1:0] word;
    logic read, room, push;

    assign s_axis_tready = stored_q != COUNT_BITS'(DEPTH);
    assign read = stored_q != '0 && room;
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        write_q <= '0;
        read_q <= '0;
        stored_q <= '0;
      end else begin
        if (accept) write_q <= write_q == LAST_ADDRESS ? '0 : write_q + 1'b1;
        if (read) read_q <= read_q == LAST_ADDRESS ? '0 : read_q + 1'b1;
        stored_q <= stored_q + COUNT_BITS'(accept) - COUNT_BITS'(read);
      end
    end

    ram #(
      .WIDTH(WIDTH), .DEPTH(DEPTH)
    ) memory (
      .clk, .write(accept), .write_address(write_q), .write_data({s_axis_tlast, s_axis_tdata}),
      .read_address(read_q), .read_data(word)
    );
    delay #(
      .STAGES(2)
    ) valid_delay (
      .clk, .rst_n, .x(read), .y(push)
    );
    output_buffer #(
      .WIDTH(WIDTH)
    ) out (
      .clk, .rst_n, .take(read), .room, .push, .push_data(word),
      .m_axis_tdata({m_axis_tlast, m_axis_tdata}), .m_axis_tvalid, .m_axis_tready,
      .m_axis_tlast(unused)
    );
  end

endmodule
