// Images of BEATS beats, whatever the host sends: one that s_axis_tlast cuts short is filled up with
// zeros, beats beyond the last are dropped up to and with the next s_axis_tlast; the image behind it
// is right again. image_in, short_image and long_image are 1 for a cycle: when an image is complete,
// when one ended early, when one did not end in time. With ignore_tlast = 1 beats alone are counted,
// for a host that has no TLAST.
// Timing: II 1, latency 1, no bubble between good images; filling up takes a cycle a beat.
module input_guard #(
  parameter int WIDTH = 8,
  parameter int BEATS = 3072
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             ignore_tlast,
  output logic             image_in,
  output logic             short_image,
  output logic             long_image,
  input  logic [WIDTH-1:0] s_axis_tdata,
  input  logic             s_axis_tvalid,
  output logic             s_axis_tready,
  input  logic             s_axis_tlast,
  output logic [WIDTH-1:0] m_axis_tdata,
  output logic             m_axis_tvalid,
  input  logic             m_axis_tready,
  output logic             m_axis_tlast
);

  localparam int BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;

  if (BEATS < 1) begin : gen_check_beats
    input_guard_BEATS_must_be_at_least_1 check ();
  end

  logic [BEAT_BITS-1:0] beat_q;
  logic fill_q, drop_q, last_beat, valid, ready, pass, short_now, long_now;

  assign last_beat = beat_q == BEAT_BITS'(BEATS - 1);
  assign valid = fill_q || (s_axis_tvalid && !drop_q);
  assign pass = valid && ready;
  assign s_axis_tready = drop_q || (ready && !fill_q);
  assign short_now = pass && !fill_q && !ignore_tlast && s_axis_tlast && !last_beat;
  assign long_now = pass && !fill_q && !ignore_tlast && !s_axis_tlast && last_beat;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      beat_q <= '0;
      fill_q <= 1'b0;
      drop_q <= 1'b0;
      image_in <= 1'b0;
      short_image <= 1'b0;
      long_image <= 1'b0;
    end else begin
      image_in <= pass && last_beat;
      short_image <= short_now;
      long_image <= long_now;
      if (pass) beat_q <= last_beat ? '0 : beat_q + 1'b1;
      if (short_now) fill_q <= 1'b1;
      else if (pass && last_beat) fill_q <= 1'b0;
      if (long_now) drop_q <= 1'b1;
      else if (ignore_tlast || (s_axis_tvalid && s_axis_tlast)) drop_q <= 1'b0;
    end
  end

  skid_buffer #(
    .WIDTH(WIDTH + 1)
  ) out (
    .clk, .rst_n, .s_axis_tdata({last_beat, fill_q ? WIDTH'(0) : s_axis_tdata}),
    .s_axis_tvalid(valid), .s_axis_tready(ready),
    .m_axis_tdata({m_axis_tlast, m_axis_tdata}), .m_axis_tvalid, .m_axis_tready
  );

endmodule
