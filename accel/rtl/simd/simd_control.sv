// Registers behind AXI4-Lite, 32 bits each:
//   0x00 control  bit 0: run; 0 resets the engine      0x04 status  bit 0 running, bit 1 error, bits 7:4 its code
//   0x08 byte of the faulty instruction                0x0C images whose logits have been sent
//   0x10 base, 0x14 length, 0x18 loop: the program's address, bytes and where its part for each image starts
//   0x20 cycles   0x24 of them waiting for parameters or operands, 0x28 for results, 0x2C for an image
// Error codes: 1 checksum of an instruction, 2 opcode, 3 address or size, 4 order, 5 sum of the words, 6 memory.
module simd_control (
  input  logic        clk,
  input  logic        rst_n,
  input  logic [7:0]  s_axil_awaddr,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [31:0] s_axil_wdata,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  output logic [1:0]  s_axil_bresp,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  input  logic [7:0]  s_axil_araddr,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic        run,
  output logic [31:0] base,
  output logic [23:0] length,
  output logic [23:0] loop_at,
  input  logic        error,
  input  logic [3:0]  error_code,
  input  logic [23:0] error_address,
  input  logic        image_sent,
  input  logic [2:0]  stall
);

  logic write, read;
  logic [31:0] images_q, cycles_q, stalls_q[3];
  assign write = s_axil_awvalid && s_axil_wvalid && (!s_axil_bvalid || s_axil_bready);
  assign s_axil_awready = write;
  assign s_axil_wready = write;
  assign s_axil_bresp = 2'b00;
  assign read = s_axil_arvalid && (!s_axil_rvalid || s_axil_rready);
  assign s_axil_arready = read;
  assign s_axil_rresp = 2'b00;
  wire unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0]};

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      {run, base, length, loop_at, s_axil_bvalid, s_axil_rvalid} <= '0;
    end else begin
      if (s_axil_bready) s_axil_bvalid <= 1'b0;
      if (s_axil_rready) s_axil_rvalid <= 1'b0;
      if (read) s_axil_rvalid <= 1'b1;
      if (write) begin
        s_axil_bvalid <= 1'b1;
        case (s_axil_awaddr[7:2])
          6'h00: run <= s_axil_wdata[0];
          6'h04: base <= s_axil_wdata;
          6'h05: length <= s_axil_wdata[23:0];
          6'h06: loop_at <= s_axil_wdata[23:0];
          default: ;
        endcase
      end
    end
    if (!run) begin
      {images_q, cycles_q} <= '0;
      for (int i = 0; i < 3; i++) stalls_q[i] <= '0;
    end else if (!error) begin
      cycles_q <= cycles_q + 1'b1;
      if (image_sent) images_q <= images_q + 1'b1;
      for (int i = 0; i < 3; i++) if (stall[i]) stalls_q[i] <= stalls_q[i] + 1'b1;
    end
    if (read) begin
      case (s_axil_araddr[7:2])
        6'h00: s_axil_rdata <= {31'd0, run};
        6'h01: s_axil_rdata <= {24'd0, error_code, 2'd0, error, run && !error};
        6'h02: s_axil_rdata <= {8'd0, error_address};
        6'h03: s_axil_rdata <= images_q;
        6'h04: s_axil_rdata <= base;
        6'h05: s_axil_rdata <= {8'd0, length};
        6'h06: s_axil_rdata <= {8'd0, loop_at};
        6'h08: s_axil_rdata <= cycles_q;
        6'h09: s_axil_rdata <= stalls_q[0];
        6'h0A: s_axil_rdata <= stalls_q[1];
        6'h0B: s_axil_rdata <= stalls_q[2];
        default: s_axil_rdata <= '0;
      endcase
    end
  end

endmodule
