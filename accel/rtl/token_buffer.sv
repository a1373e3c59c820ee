// Two tokens of K bytes: one is written, IN_LANES bytes a beat, while the other is read, SIMD bytes
// a cycle, as often as wished. `ready`: a whole token is there; `read` steps through its columns and
// starts again behind `last_col`, `done` leaves the token.
// Timing: no bubble; `ready` from the cycle after the last write on; x comes READ cycles after
// `read`, READ = 1, or 2 where the two tokens have more than 64 words.
// Memory: words of max(SIMD, IN_LANES) bytes, written by lanes of IN_LANES bytes.
module token_buffer #(
  parameter int K        = 96,
  parameter int SIMD     = 6,
  parameter int IN_LANES = 1
) (
  input  logic                  clk,
  input  logic                  rst_n,
  input  logic [IN_LANES*8-1:0] s_axis_tdata,
  input  logic                  s_axis_tvalid,
  output logic                  s_axis_tready,
  output logic                  ready,
  input  logic                  read,
  input  logic                  last_col,
  input  logic                  done,
  output logic [SIMD*8-1:0]     x
);

  localparam int WORD = SIMD > IN_LANES ? SIMD : IN_LANES;
  localparam int WORDS = K / WORD;
  localparam int LANES = WORD / IN_LANES;
  localparam int PARTS = WORD / SIMD;
  localparam int READ = 2 * WORDS > 64 ? 2 : 1;
  localparam int LANE_BITS = LANES > 1 ? $clog2(LANES) : 1;
  localparam int PART_BITS = PARTS > 1 ? $clog2(PARTS) : 1;
  localparam int INDEX_BITS = $clog2(2 * K / IN_LANES);
  localparam int ADDRESS_BITS = $clog2(2 * WORDS);

  // Write side: lane after lane of a word, word after word.
  logic write, last_lane;
  logic [INDEX_BITS-1:0] index;
  logic [LANE_BITS-1:0] lane_q;
  logic [ADDRESS_BITS-1:0] write_q;
  logic [LANES-1:0] enables;
  wire unused = &{1'b0, index};

  ping_pong #(
    .BEATS(K / IN_LANES)
  ) tokens (
    .clk, .rst_n, .s_axis_tvalid, .s_axis_tready, .write, .write_address(index), .ready,
    .read_done(done)
  );
  assign last_lane = lane_q == LANE_BITS'(LANES - 1);
  for (genvar i = 0; i < LANES; i++) begin : gen_enable
    assign enables[i] = write && lane_q == LANE_BITS'(i);
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      lane_q <= '0;
      write_q <= '0;
    end else if (write) begin
      lane_q <= last_lane ? '0 : lane_q + 1'b1;
      if (last_lane) write_q <= write_q == ADDRESS_BITS'(2 * WORDS - 1) ? '0 : write_q + 1'b1;
    end
  end

  // Read side: part after part of a word, word after word, from the start of a half.
  logic half_q, last_part;
  logic [PART_BITS-1:0] part_q, part;
  logic [ADDRESS_BITS-1:0] read_q;
  logic [WORD*8-1:0] word;
  assign last_part = part_q == PART_BITS'(PARTS - 1);
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      half_q <= 1'b0;
      part_q <= '0;
      read_q <= '0;
    end else if (read) begin
      half_q <= half_q ^ done;
      part_q <= last_part ? '0 : part_q + 1'b1;
      if (last_col) read_q <= half_q ^ done ? ADDRESS_BITS'(WORDS) : '0;
      else if (last_part) read_q <= read_q + 1'b1;
    end
  end
  lane_ram #(
    .LANES(LANES), .LANE_BITS(IN_LANES * 8), .DEPTH(2 * WORDS)
  ) memory (
    .clk, .write(enables), .write_address(write_q), .write_data(s_axis_tdata),
    .read_address(read_q), .read_data(word)
  );
  delay #(
    .WIDTH(PART_BITS), .STAGES(READ)
  ) part_delay (
    .clk, .rst_n, .x(part_q), .y(part)
  );
  assign x = word[int'(part)*SIMD*8+:SIMD*8];

endmodule
