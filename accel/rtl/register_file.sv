// The registers of the accelerator, an AXI4-Lite slave of 32 bits and 4 KiB; accel/registers.py has the
// map. An address outside the map, and a write to what is only read, is answered with SLVERR.
// Link i of the LINKS has two stall counters, the words 2*i and 2*i + 1 from 0x400 on: cycles in which
// it was valid and not ready, and ready and not valid; the last link leaves the accelerator.
// Timing: a read takes 3 cycles, of a stall counter until its turn comes, 2*LINKS + 8 at most.
module register_file #(
  parameter int LINKS   = 2,
  parameter int MAGIC   = 0,
  parameter int VERSION = 0,
  parameter int BUILD   = 0
) (
  input  logic             clk,
  input  logic             rst_n,
  input  logic [11:0]      s_axi_lite_awaddr,
  input  logic [2:0]       s_axi_lite_awprot,
  input  logic             s_axi_lite_awvalid,
  output logic             s_axi_lite_awready,
  input  logic [31:0]      s_axi_lite_wdata,
  input  logic [3:0]       s_axi_lite_wstrb,
  input  logic             s_axi_lite_wvalid,
  output logic             s_axi_lite_wready,
  output logic [1:0]       s_axi_lite_bresp,
  output logic             s_axi_lite_bvalid,
  input  logic             s_axi_lite_bready,
  input  logic [11:0]      s_axi_lite_araddr,
  input  logic [2:0]       s_axi_lite_arprot,
  input  logic             s_axi_lite_arvalid,
  output logic             s_axi_lite_arready,
  output logic [31:0]      s_axi_lite_rdata,
  output logic [1:0]       s_axi_lite_rresp,
  output logic             s_axi_lite_rvalid,
  input  logic             s_axi_lite_rready,
  input  logic             image_in,
  input  logic             short_image,
  input  logic             long_image,
  input  logic             out_tlast,
  input  logic [LINKS-1:0] link_valid,
  input  logic [LINKS-1:0] link_ready,
  output logic             ignore_tlast
);

  localparam int COUNTS = 2 * LINKS;
  localparam int PERIOD = COUNTS > 8 ? COUNTS : 8;
  localparam int INDEX_BITS = $clog2(PERIOD);
  localparam logic [1:0] OKAY = 2'b00;
  localparam logic [1:0] SLVERR = 2'b10;
  localparam logic [9:0] CONTROL = 10'd3;
  localparam logic [9:0] ERRORS = 10'd4;
  localparam logic [9:0] STALLS = 10'd256;

  if (LINKS < 2 || LINKS > 384) begin : gen_check_links
    register_file_LINKS_must_be_2_to_384 check ();
  end
  wire unused = &{1'b0, s_axi_lite_awprot, s_axi_lite_arprot, s_axi_lite_awaddr[1:0],
                  s_axi_lite_araddr[1:0], s_axi_lite_wdata[31:3], s_axi_lite_wstrb[3:1]};

  // Writes: address and data may come in any order; both are kept, then answered together.
  logic address_held_q, data_held_q, byte_q, write, writable, clear_q, hold_q;
  logic [9:0] write_address_q;
  logic [2:0] data_q;
  logic [1:0] errors_q;
  assign s_axi_lite_awready = !address_held_q;
  assign s_axi_lite_wready = !data_held_q;
  assign write = address_held_q && data_held_q && !s_axi_lite_bvalid;
  assign writable = write_address_q == CONTROL || write_address_q == ERRORS;
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      address_held_q <= 1'b0;
      data_held_q <= 1'b0;
      s_axi_lite_bvalid <= 1'b0;
      clear_q <= 1'b0;
      ignore_tlast <= 1'b0;
      hold_q <= 1'b0;
      errors_q <= '0;
    end else begin
      if (s_axi_lite_awvalid) address_held_q <= 1'b1;
      if (s_axi_lite_wvalid) data_held_q <= 1'b1;
      if (s_axi_lite_bready) s_axi_lite_bvalid <= 1'b0;
      clear_q <= 1'b0;
      errors_q <= errors_q | {long_image, short_image};
      if (write) begin
        address_held_q <= 1'b0;
        data_held_q <= 1'b0;
        s_axi_lite_bvalid <= 1'b1;
        if (write_address_q == CONTROL && byte_q) {hold_q, ignore_tlast, clear_q} <= data_q[2:0];
        if (write_address_q == ERRORS && byte_q)
          errors_q <= (errors_q & ~data_q[1:0]) | {long_image, short_image};
      end
    end
  end
  always_ff @(posedge clk) begin
    if (s_axi_lite_awready) write_address_q <= s_axi_lite_awaddr[11:2];
    if (s_axi_lite_wready) begin
      data_q <= s_axi_lite_wdata[2:0];
      byte_q <= s_axi_lite_wstrb[0];
    end
    if (write) s_axi_lite_bresp <= writable ? OKAY : SLVERR;
  end

  // Counters.
  logic [31:0] images_in_q, images_out_q, short_q, long_q;
  logic image_out;
  assign image_out = link_valid[LINKS-1] && link_ready[LINKS-1] && out_tlast;
  always_ff @(posedge clk) begin
    if (!rst_n || clear_q) begin
      images_in_q <= '0;
      images_out_q <= '0;
      short_q <= '0;
      long_q <= '0;
    end else begin
      if (image_in) images_in_q <= images_in_q + 1'b1;
      if (image_out) images_out_q <= images_out_q + 1'b1;
      if (short_image) short_q <= short_q + 1'b1;
      if (long_image) long_q <= long_q + 1'b1;
    end
  end

  logic [COUNTS-1:0] events;
  logic [INDEX_BITS-1:0] index;
  logic [31:0] value;
  logic visit;
  for (genvar i = 0; i < LINKS; i++) begin : gen_link
    assign events[2*i] = link_valid[i] && !link_ready[i] && !hold_q;
    assign events[2*i+1] = link_ready[i] && !link_valid[i] && !hold_q;
  end
  event_counters #(
    .COUNTS(COUNTS)
  ) stalls (
    .clk, .rst_n, .clear(clear_q), .events, .visit, .index, .value
  );

  // Reads: one at a time.
  logic read_held_q, known, found;
  logic [9:0] read_address_q, counter;
  logic [31:0] word;
  assign s_axi_lite_arready = !read_held_q;
  assign counter = read_address_q - STALLS;
  assign found = read_address_q >= STALLS && counter < 10'(COUNTS);
  always_comb begin
    known = 1'b1;
    case (read_address_q)
      10'd0: word = MAGIC;
      10'd1: word = VERSION;
      10'd2: word = BUILD;
      CONTROL: word = {29'b0, hold_q, ignore_tlast, 1'b0};
      ERRORS: word = {30'b0, errors_q};
      10'd5: word = images_in_q;
      10'd6: word = images_out_q;
      10'd7: word = short_q;
      10'd8: word = long_q;
      10'd9: word = LINKS;
      default: begin
        word = '0;
        known = 1'b0;
      end
    endcase
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      read_held_q <= 1'b0;
      s_axi_lite_rvalid <= 1'b0;
    end else if (!read_held_q) begin
      read_held_q <= s_axi_lite_arvalid;
    end else if (s_axi_lite_rvalid) begin
      if (s_axi_lite_rready) begin
        s_axi_lite_rvalid <= 1'b0;
        read_held_q <= 1'b0;
      end
    end else begin
      s_axi_lite_rvalid <= !found || (visit && counter == 10'(index));
    end
  end
  always_ff @(posedge clk) begin
    if (!read_held_q) read_address_q <= s_axi_lite_araddr[11:2];
    if (!s_axi_lite_rvalid) begin
      s_axi_lite_rdata <= found ? value : word;
      s_axi_lite_rresp <= found || known ? OKAY : SLVERR;
    end
  end

endmodule
