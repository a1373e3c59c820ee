// What the properties share. Counts have 8 bits. `INVARIANTS` is defined in proofs by induction and
// not when a planted fault is looked for: what finds it is then the behaviour at the ports.

// From the cycle that offers a beat until the one that takes it, tvalid stays and the beat does
// not change: an assertion on an output, an assumption on an input.
module stream_holds #(
  parameter int WIDTH   = 1,
  parameter int ASSUMED = 0
) (
  input logic             clk,
  input logic             rst_n,
  input logic             tvalid,
  input logic             tready,
  input logic [WIDTH-1:0] beat
);

  logic waits_q;
  logic [WIDTH-1:0] beat_q;
  initial waits_q = 1'b0;
  always_ff @(posedge clk) begin
    waits_q <= rst_n && tvalid && !tready;
    beat_q <= beat;
  end

  if (ASSUMED != 0) begin : gen_input
    always_comb if (waits_q) assume (tvalid && beat == beat_q);
  end else begin : gen_output
    always_comb if (rst_n && waits_q) assert (tvalid && beat == beat_q);
  end

endmodule

// An output: it holds, and tlast marks every BEATS-th beat. `left`: beats of this image that left.
module stream_output #(
  parameter int WIDTH = 1,
  parameter int BEATS = 1
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             tvalid,
  input  logic             tready,
  input  logic             tlast,
  input  logic [WIDTH-1:0] tdata,
  output logic [7:0]       left
);

  stream_holds #(.WIDTH(WIDTH + 1)) holds (
    .clk, .rst_n, .tvalid, .tready, .beat({tlast, tdata})
  );
  index #(.MODULUS(BEATS)) beats (.clk, .rst_n, .step(tvalid && tready), .count(left));
  always_comb if (rst_n && tvalid) assert (tlast == (left == 8'(BEATS - 1)));

endmodule

// Counts `step` from 0 to MODULUS - 1 and again.
module index #(
  parameter int MODULUS = 2
) (
  input  logic       clk,
  input  logic       rst_n,
  input  logic       step,
  output logic [7:0] count
);

  always_ff @(posedge clk) begin
    if (!rst_n) count <= '0;
    else if (step) count <= count == 8'(MODULUS - 1) ? '0 : count + 1'b1;
  end

  always_comb if (rst_n) assert (count < 8'(MODULUS));

endmodule

// First in, first out: `put` adds a beat, `get` takes the oldest one, which is `front` whenever
// `offered`. Never more than CAPACITY beats are held, none is offered that was not put, and one
// that is held is offered after at most PATIENCE cycles. One beat, whichever `mark` picks, is
// followed: `ahead` beats leave before it and it leaves as it was put.
module scoreboard #(
  parameter int WIDTH    = 1,
  parameter int CAPACITY = 1,
  parameter int PATIENCE = 1
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic             mark,
  input  logic             put,
  input  logic [WIDTH-1:0] put_beat,
  input  logic             offered,
  input  logic             get,
  input  logic [WIDTH-1:0] front,
  output logic [7:0]       held,
  output logic             followed,
  output logic [7:0]       ahead,
  output logic [WIDTH-1:0] followed_beat
);

  logic start, finish;
  logic [7:0] waited;
  assign start = put && mark && !followed;
  assign finish = get && followed && ahead == '0;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      held <= '0;
      waited <= '0;
      followed <= 1'b0;
    end else begin
      held <= held + 8'(put) - 8'(get);
      waited <= held != '0 && !offered ? waited + 1'b1 : '0;
      followed <= start || (followed && !finish);
    end
    ahead <= start ? held - 8'(get) : ahead - 8'(get);
    if (start) followed_beat <= put_beat;
  end

  always_comb begin
    if (rst_n) begin
      assert (held <= 8'(CAPACITY));
      assert (waited <= 8'(PATIENCE));
      if (offered) assert (held != '0);
      if (followed) assert (ahead < held);
      if (offered && followed && ahead == '0) assert (front == followed_beat);
    end
  end

endmodule

// The invariants of output_buffer. in_flight: taken and not yet pushed. A followed beat is in the
// output register, in `memory` behind it, or still to be pushed.
module output_buffer_invariants #(
  parameter int WIDTH = 8,
  parameter int DEPTH = 4,
  parameter int BEATS = 1
) (
  input logic                   rst_n,
  input logic [7:0]             taken,
  input logic [7:0]             stored,
  input logic [7:0]             write,
  input logic [7:0]             read,
  input logic [7:0]             beat,
  input logic [DEPTH*WIDTH-1:0] memory,
  input logic                   tvalid,
  input logic [WIDTH-1:0]       tdata,
  input logic [7:0]             left,
  input logic [7:0]             in_flight,
  input logic                   followed,
  input logic [7:0]             ahead,
  input logic [WIDTH-1:0]       followed_beat
);

  logic [7:0] place;
  assign place = read + ahead - 8'(tvalid);
`ifdef INVARIANTS
  always_comb begin
    if (rst_n) begin
      assert (taken <= 8'(DEPTH) && stored <= taken && in_flight == taken - stored);
      assert (write < 8'(DEPTH) && read < 8'(DEPTH));
      assert (read + stored == write + (read + stored >= 8'(DEPTH) ? 8'(DEPTH) : 8'd0));
      assert (beat < 8'(BEATS));
      assert (beat == (!tvalid ? left : left == 8'(BEATS - 1) ? 8'd0 : left + 1'b1));
      if (followed && tvalid && ahead == '0) assert (tdata == followed_beat);
      if (followed && !(tvalid && ahead == '0) && ahead < stored + 8'(tvalid))
        assert (memory[(place >= 8'(DEPTH) ? place - 8'(DEPTH) : place)*WIDTH+:WIDTH] == followed_beat);
    end
  end
`endif

endmodule

// `dut.out`, an output_buffer of 4 places, behind a pipeline of `stages` cycles whose valid bits are
// `dut.valid_delay`: the scoreboard's beats are in these two and in the output register.
`ifdef INVARIANTS
`define OUTPUT_BUFFER(bits, beats, stages) \
  (* hierconn *) wire [2:0] \dut.out.taken_q , \dut.out.stored_q ; \
  (* hierconn *) wire [1:0] \dut.out.write_q , \dut.out.read_q ; \
  (* hierconn *) wire [(beats > 1 ? $clog2(beats) : 1)-1:0] \dut.out.beat_q ; \
  (* hierconn *) wire [bits-1:0] \dut.out.mem[0] , \dut.out.mem[1] , \dut.out.mem[2] , \dut.out.mem[3] ; \
  (* hierconn *) wire [stages-1:0] \dut.valid_delay.gen_registers.stages_q ; \
  logic [7:0] in_flight; \
  always_comb begin \
    in_flight = '0; \
    for (int i = 0; i < stages; i++) in_flight = in_flight + 8'(\dut.valid_delay.gen_registers.stages_q [i]); \
    if (rst_n) assert (held == in_flight + 8'(\dut.out.stored_q ) + 8'(m_tvalid)); \
  end \
  output_buffer_invariants #(.WIDTH(bits), .DEPTH(4), .BEATS(beats)) state ( \
    .rst_n, .taken(8'(\dut.out.taken_q )), .stored(8'(\dut.out.stored_q )), \
    .write(8'(\dut.out.write_q )), .read(8'(\dut.out.read_q )), .beat(8'(\dut.out.beat_q )), \
    .memory({\dut.out.mem[3] , \dut.out.mem[2] , \dut.out.mem[1] , \dut.out.mem[0] }), \
    .tvalid(m_tvalid), .tdata(m_tdata), .left, .in_flight, .followed, .ahead, .followed_beat \
  );
`else
`define OUTPUT_BUFFER(bits, beats, stages)
`endif

// The reference of a requantization, by its definition: the nearest integer to value / 2**shift,
// a tie to the even one (or up), clipped.
module rounded #(
  parameter int BITS    = 16,
  parameter int HALF_UP = 0,
  parameter int LO      = -128,
  parameter int HI      = 127
) (
  input  logic signed [BITS-1:0] value,
  input  logic        [3:0]      shift,
  output logic        [7:0]      result
);

  logic signed [BITS:0] below, rest, half, nearest;
  assign below = value >>> shift;
  assign rest = value - (below <<< shift);
  assign half = shift == '0 ? '1 : (BITS + 1)'(1) <<< (shift - 1'b1);
  assign nearest = below + (BITS + 1)'(shift != '0 && (rest > half || (rest == half && (HALF_UP != 0 || below[0]))));
  assign result = nearest < LO ? 8'(LO) : nearest > HI ? 8'(HI) : nearest[7:0];

endmodule
