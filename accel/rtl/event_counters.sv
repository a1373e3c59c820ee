// COUNTS counters of 32 bits: counter i counts the cycles in which events[i] is 1, modulo 2**32.
// They are brought up to date in turn: `visit` says that counter `index` now has the value `value`,
// of three cycles ago; every counter comes each PERIOD = max(COUNTS, 8) cycles. `clear` sets all to 0.
// Memory: PERIOD words of 32 bits. Beside it a counter has only as many low bits in registers as it
// can move between two visits; the word remembers them, so a wrap shows.
module event_counters #(
  parameter int COUNTS     = 4,
  parameter int PERIOD     = COUNTS > 8 ? COUNTS : 8,
  parameter int INDEX_BITS = $clog2(PERIOD)
) (
  input  logic                  clk,
  input  logic                  rst_n,
  input  logic                  clear,
  input  logic [COUNTS-1:0]     events,
  output logic                  visit,
  output logic [INDEX_BITS-1:0] index,
  output logic [31:0]           value
);

  localparam int LOW = $clog2(PERIOD + 1);
  localparam int FRESH_BITS = $clog2(PERIOD + 1);

  logic restart;
  assign restart = clear || !rst_n;

  // The low bits of every counter, as LOW columns with a bit of each.
  logic [COUNTS-1:0] events_q;
  logic [LOW*PERIOD-1:0] columns;
  always_ff @(posedge clk) events_q <= restart ? '0 : events;
  for (genvar i = 0; i < PERIOD; i++) begin : gen_counter
    logic [LOW-1:0] low_q;
    if (i < COUNTS) begin : gen_events
      always_ff @(posedge clk) begin
        if (restart) low_q <= '0;
        else if (events_q[i]) low_q <= low_q + 1'b1;
      end
    end else begin : gen_none
      assign low_q = '0;
    end
    for (genvar b = 0; b < LOW; b++) begin : gen_bit
      assign columns[b*PERIOD+i] = low_q[b];
    end
  end

  // In turn; a counter's first visit after a restart does not look at the memory.
  logic [INDEX_BITS-1:0] slot_q, slot_1_q, slot_2_q;
  logic [FRESH_BITS-1:0] fresh_q;
  logic [LOW-1:0] low, low_1_q, low_2_q;
  logic fresh_1_q, fresh_2_q, valid_1_q, valid_2_q;
  logic [31:0] old;
  for (genvar b = 0; b < LOW; b++) begin : gen_column
    logic [PERIOD-1:0] column;
    assign column = columns[b*PERIOD+:PERIOD];
    assign low[b] = column[slot_q];
  end

  always_ff @(posedge clk) begin
    if (!rst_n) slot_q <= '0;
    else slot_q <= slot_q == INDEX_BITS'(PERIOD - 1) ? '0 : slot_q + 1'b1;
    if (restart) fresh_q <= FRESH_BITS'(PERIOD);
    else if (fresh_q != '0) fresh_q <= fresh_q - 1'b1;
    valid_1_q <= !restart;
    valid_2_q <= valid_1_q && !restart;
    visit <= valid_2_q && !restart;
    slot_1_q <= slot_q;
    slot_2_q <= slot_1_q;
    index <= slot_2_q;
    low_1_q <= low;
    low_2_q <= low_1_q;
    fresh_1_q <= fresh_q != '0;
    fresh_2_q <= fresh_1_q;
    value[LOW-1:0] <= low_2_q;
    value[31:LOW] <= fresh_2_q ? '0 : old[31:LOW] + (32 - LOW)'(low_2_q < old[LOW-1:0]);
  end

  ram #(
    .WIDTH(32), .DEPTH(PERIOD)
  ) words (
    .clk, .write(visit), .write_address(index), .write_data(value), .read_address(slot_q),
    .read_data(old)
  );

endmodule
