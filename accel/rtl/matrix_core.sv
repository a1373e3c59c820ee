// The arithmetic of a matrix unit: groups of PE results, each over the cycles of its group,
//   acc[p] = bias + sum over the group's cycles of sum_s own[p*SIMD+s] * shared[s]
//   result = REQUANT ? clip(round(acc / 2**(SHIFT_BASE + shift))) as int8 : acc as int32
// handed out in the order of p, OUT_LANES a beat; BEATS beats make an image.
// `issue` announces operands that come READ cycles later; `first` and `last` mark the ends of a
// group, and an issue with `last` needs `room`. Idle cycles may lie anywhere.
// Timing: LANES = min(PE, OUT_LANES) results are requantized a cycle, so groups end at least
// PE/LANES cycles apart (`room` sees to it; PERIOD, the least cycles of a group, is given to leave
// that out where it cannot matter). Latency from the issue of a group's end to the beat that its
// first results complete: READ + TREE + 7, TREE = (ceil(log2(SIMD)) + 1) / 2; one more where
// PE > OUT_LANES, three less for int32.
// Memory: PARAM_FILE PARAM_WORDS words, each for PARAM_REPEAT times LANES results, lane l =
// {shift - SHIFT_BASE, bias}; with PARAM_LANES = 1 a lane serves all results.
module matrix_core #(
  parameter int PE           = 4,
  parameter int SIMD         = 12,
  parameter int OUT_LANES    = 1,
  parameter int FABRIC       = 0,
  parameter int PACKED       = 0,
  parameter int READ         = 1,
  parameter int PERIOD       = 8,
  parameter int BEATS        = 6144,
  parameter int ACC_BITS     = 24,
  parameter int BIAS_BITS    = 16,
  parameter int SHIFT_BASE   = 0,
  parameter int SHIFT_BITS   = 5,
  parameter int REQUANT      = 1,
  parameter int HALF_UP      = 0,
  parameter int LO           = -128,
  parameter int HI           = 127,
  parameter int PARAM_LANES  = 1,
  parameter int PARAM_WORDS  = 96,
  parameter int PARAM_REPEAT = 1,
  parameter PARAM_FILE       = "",
  parameter int OUT_BITS     = REQUANT != 0 ? 8 : 32
) (
  input  logic                          clk,
  input  logic                          rst_n,
  input  logic                          issue,
  input  logic                          first,
  input  logic                          last,
  output logic                          room,
  input  logic [PE*SIMD*8-1:0]          own,
  input  logic [SIMD*8-1:0]             shared,
  output logic [OUT_LANES*OUT_BITS-1:0] m_axis_tdata,
  output logic                          m_axis_tvalid,
  input  logic                          m_axis_tready,
  output logic                          m_axis_tlast
);

  localparam int LANES = PE < OUT_LANES ? PE : OUT_LANES;
  localparam int STEPS = PE / LANES;
  localparam int PARTS = OUT_LANES / LANES;
  localparam int TREE = ($clog2(SIMD) + 1) / 2;
  localparam int SUM_BITS = 16 + $clog2(SIMD);
  localparam int PARAM_BITS = BIAS_BITS + SHIFT_BITS;
  localparam int STEP_BITS = $clog2(STEPS + 1);
  localparam int PART_BITS = PARTS > 1 ? $clog2(PARTS) : 1;
  // Places in the output buffer: those of all groups between their end's issue and their last beat.
  localparam int SPACING = PERIOD > STEPS ? PERIOD : STEPS;
  localparam int STAY = READ + TREE + 8 + STEPS;
  localparam int PLACES = STEPS * ((STAY + SPACING - 1) / SPACING);
  localparam int DEPTH = PLACES > 16 ? PLACES : 16;

  if (PE % LANES != 0 || OUT_LANES % LANES != 0) begin : gen_check_lanes
    matrix_core_one_of_PE_and_OUT_LANES_must_divide_the_other check ();
  end
  if (ACC_BITS < BIAS_BITS || ACC_BITS > 32) begin : gen_check_accumulator
    matrix_core_ACC_BITS_must_be_BIAS_BITS_to_32 check ();
  end

  // Where the groups stand: at the issue, at the sums, and one cycle before.
  logic ends, before_valid, before_first, before_last, valid_sum, first_sum, last_sum, done;
  assign ends = issue && last;
  delay #(
    .WIDTH(3), .STAGES(READ + TREE)
  ) group_delay (
    .clk, .rst_n, .x({issue, first, ends}), .y({before_valid, before_first, before_last})
  );
  delay #(
    .WIDTH(4)
  ) sum_delay (
    .clk, .rst_n, .x({before_valid, before_first, before_last, last_sum}),
    .y({valid_sum, first_sum, last_sum, done})
  );

  logic [PE*SUM_BITS-1:0] sums;
  dot_products #(
    .PE(PE), .SIMD(SIMD), .FABRIC(FABRIC), .PACKED(PACKED)
  ) dots (
    .clk, .own, .shared, .sums
  );

  logic advance;
  logic [PARAM_LANES*PARAM_BITS-1:0] params;
  logic [LANES*ACC_BITS-1:0] biases;
  logic [LANES*SHIFT_BITS-1:0] shifts;
  logic unused_primed;
  rom_stream #(
    .WIDTH(PARAM_LANES * PARAM_BITS), .DEPTH(PARAM_WORDS), .GROUP(1), .REPEAT(PARAM_REPEAT),
    .FILE(PARAM_FILE)
  ) param_rom (
    .clk, .rst_n, .advance, .primed(unused_primed), .data(params)
  );
  for (genvar l = 0; l < LANES; l++) begin : gen_param
    localparam int BASE = (PARAM_LANES == 1 ? 0 : l) * PARAM_BITS;
    logic signed [BIAS_BITS-1:0] bias;
    assign bias = params[BASE+:BIAS_BITS];
    assign biases[l*ACC_BITS+:ACC_BITS] = ACC_BITS'(bias);
    assign shifts[l*SHIFT_BITS+:SHIFT_BITS] = params[BASE+BIAS_BITS+:SHIFT_BITS];
  end

  // Accumulators wrap; ACC_BITS hold the final value, so partial sums may wrap and come back.
  logic [PE*ACC_BITS-1:0] accs;
  for (genvar p = 0; p < PE; p++) begin : gen_acc
    logic signed [ACC_BITS-1:0] acc_q, start;
    logic signed [SUM_BITS-1:0] sum;
    assign sum = sums[p*SUM_BITS+:SUM_BITS];
    assign start = STEPS == 1 ? biases[(p%LANES)*ACC_BITS+:ACC_BITS] : '0;
    if (PERIOD == 1) begin : gen_whole
      always_ff @(posedge clk) acc_q <= start + ACC_BITS'(sum);
    end else begin : gen_part
      always_ff @(posedge clk)
        if (valid_sum) acc_q <= (first_sum ? start : acc_q) + ACC_BITS'(sum);
    end
    assign accs[p*ACC_BITS+:ACC_BITS] = acc_q;
  end

  // LANES values a cycle: the accumulators themselves, or out of a copy of them plus the bias.
  logic value_valid;
  logic [LANES*ACC_BITS-1:0] values;
  if (STEPS == 1) begin : gen_together
    assign advance = before_valid && before_first;
    assign value_valid = done;
    assign values = accs;
  end else begin : gen_steps
    localparam int KEEP = (PE - LANES) * ACC_BITS;
    logic [STEP_BITS-1:0] left_q;
    logic [KEEP-1:0] kept_q;
    logic [PE*ACC_BITS-1:0] given;
    assign advance = last_sum || done || left_q > STEP_BITS'(1);
    assign given = done ? accs : {{LANES * ACC_BITS{1'b0}}, kept_q};
    always_ff @(posedge clk) kept_q <= given[PE*ACC_BITS-1-:KEEP];
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        left_q <= '0;
        value_valid <= 1'b0;
      end else begin
        left_q <= done ? STEP_BITS'(STEPS - 1) : left_q - STEP_BITS'(left_q != '0);
        value_valid <= done || left_q != '0;
      end
    end
    for (genvar l = 0; l < LANES; l++) begin : gen_value
      always_ff @(posedge clk)
        values[l*ACC_BITS+:ACC_BITS] <= given[l*ACC_BITS+:ACC_BITS] + biases[l*ACC_BITS+:ACC_BITS];
    end
  end

  logic result_valid;
  logic [LANES*OUT_BITS-1:0] results;
  if (REQUANT != 0) begin : gen_requant
    logic [LANES*SHIFT_BITS-1:0] shifts_q;
    always_ff @(posedge clk) shifts_q <= shifts;
    delay #(
      .STAGES(3)
    ) result_delay (
      .clk, .rst_n, .x(value_valid), .y(result_valid)
    );
    for (genvar l = 0; l < LANES; l++) begin : gen_lane
      requant #(
        .VALUE_BITS(ACC_BITS), .SHIFT_BASE(SHIFT_BASE), .SHIFT_BITS(SHIFT_BITS),
        .HALF_UP(HALF_UP), .LO(LO), .HI(HI)
      ) lane (
        .clk, .value(values[l*ACC_BITS+:ACC_BITS]), .shift(shifts_q[l*SHIFT_BITS+:SHIFT_BITS]),
        .result(results[l*OUT_BITS+:OUT_BITS])
      );
    end
  end else begin : gen_accumulator
    wire unused = &{1'b0, shifts};
    assign result_valid = value_valid;
    for (genvar l = 0; l < LANES; l++) begin : gen_lane
      logic signed [ACC_BITS-1:0] value;
      assign value = values[l*ACC_BITS+:ACC_BITS];
      assign results[l*OUT_BITS+:OUT_BITS] = OUT_BITS'(value);
    end
  end

  // PARTS groups to a beat; the last one takes the others along.
  logic credit, completes, push;
  logic [OUT_LANES*OUT_BITS-1:0] beat;
  if (PARTS == 1) begin : gen_beat
    assign completes = 1'b1;
    assign push = result_valid;
    assign beat = results;
  end else begin : gen_parts
    localparam int KEEP = (PARTS - 1) * LANES * OUT_BITS;
    logic [KEEP-1:0] kept_q;
    logic [PART_BITS-1:0] issued_q, stored_q;
    assign completes = issued_q == PART_BITS'(PARTS - 1);
    assign push = result_valid && stored_q == PART_BITS'(PARTS - 1);
    assign beat = {results, kept_q};
    always_ff @(posedge clk) if (result_valid) kept_q <= beat[OUT_LANES*OUT_BITS-1-:KEEP];
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        issued_q <= '0;
        stored_q <= '0;
      end else begin
        if (ends) issued_q <= completes ? '0 : issued_q + 1'b1;
        if (result_valid) stored_q <= push ? '0 : stored_q + 1'b1;
      end
    end
  end

  if (STEPS > PERIOD) begin : gen_rest
    logic [STEP_BITS-1:0] rest_q;
    always_ff @(posedge clk) begin
      if (!rst_n) rest_q <= '0;
      else rest_q <= ends ? STEP_BITS'(STEPS - 1) : rest_q - STEP_BITS'(rest_q != '0);
    end
    assign room = credit && rest_q == '0;
  end else begin : gen_no_rest
    assign room = credit || !completes;
  end

  output_buffer #(
    .WIDTH(OUT_LANES * OUT_BITS), .DEPTH(DEPTH), .BEATS(BEATS), .GROUP(STEPS)
  ) out (
    .clk, .rst_n, .take(ends && completes), .room(credit), .push, .push_data(beat),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast
  );

endmodule
