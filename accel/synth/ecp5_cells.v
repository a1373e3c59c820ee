// Simulation models of the ECP5 cells that Yosys describes only as black boxes, for what a netlist
// of synth_ecp5 uses of them. Written from Lattice's FPGA-TN-02204 (memory) and FPGA-TN-02205
// (sysDSP) and the bit order of Yosys's memory initialisation. An option that is not modelled stops
// the elaboration.

// 18 kbit of block RAM: 1024 words of 18 bits, seen by each port as 16384 x 1, 8192 x 2, 4096 x 4,
// 2048 x 9 or 1024 x 18; DATA_WIDTH 36 joins both data buses to 512 x 36 (A writes, B reads; DIA
// and DOA are the low half). 1, 2 and 4 bits wide, a port cannot reach the ninth bit of a byte. At
// 18 and 36 bits the lowest address pins of A enable the bytes of a write.
// Timing: synchronous read, latency 1, one more with REGMODE "OUTREG".
module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
  DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
  DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
  DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
  DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter [319:0] INITVAL_00 = 320'h0;
  parameter [319:0] INITVAL_01 = 320'h0;
  parameter [319:0] INITVAL_02 = 320'h0;
  parameter [319:0] INITVAL_03 = 320'h0;
  parameter [319:0] INITVAL_04 = 320'h0;
  parameter [319:0] INITVAL_05 = 320'h0;
  parameter [319:0] INITVAL_06 = 320'h0;
  parameter [319:0] INITVAL_07 = 320'h0;
  parameter [319:0] INITVAL_08 = 320'h0;
  parameter [319:0] INITVAL_09 = 320'h0;
  parameter [319:0] INITVAL_0A = 320'h0;
  parameter [319:0] INITVAL_0B = 320'h0;
  parameter [319:0] INITVAL_0C = 320'h0;
  parameter [319:0] INITVAL_0D = 320'h0;
  parameter [319:0] INITVAL_0E = 320'h0;
  parameter [319:0] INITVAL_0F = 320'h0;
  parameter [319:0] INITVAL_10 = 320'h0;
  parameter [319:0] INITVAL_11 = 320'h0;
  parameter [319:0] INITVAL_12 = 320'h0;
  parameter [319:0] INITVAL_13 = 320'h0;
  parameter [319:0] INITVAL_14 = 320'h0;
  parameter [319:0] INITVAL_15 = 320'h0;
  parameter [319:0] INITVAL_16 = 320'h0;
  parameter [319:0] INITVAL_17 = 320'h0;
  parameter [319:0] INITVAL_18 = 320'h0;
  parameter [319:0] INITVAL_19 = 320'h0;
  parameter [319:0] INITVAL_1A = 320'h0;
  parameter [319:0] INITVAL_1B = 320'h0;
  parameter [319:0] INITVAL_1C = 320'h0;
  parameter [319:0] INITVAL_1D = 320'h0;
  parameter [319:0] INITVAL_1E = 320'h0;
  parameter [319:0] INITVAL_1F = 320'h0;
  parameter [319:0] INITVAL_20 = 320'h0;
  parameter [319:0] INITVAL_21 = 320'h0;
  parameter [319:0] INITVAL_22 = 320'h0;
  parameter [319:0] INITVAL_23 = 320'h0;
  parameter [319:0] INITVAL_24 = 320'h0;
  parameter [319:0] INITVAL_25 = 320'h0;
  parameter [319:0] INITVAL_26 = 320'h0;
  parameter [319:0] INITVAL_27 = 320'h0;
  parameter [319:0] INITVAL_28 = 320'h0;
  parameter [319:0] INITVAL_29 = 320'h0;
  parameter [319:0] INITVAL_2A = 320'h0;
  parameter [319:0] INITVAL_2B = 320'h0;
  parameter [319:0] INITVAL_2C = 320'h0;
  parameter [319:0] INITVAL_2D = 320'h0;
  parameter [319:0] INITVAL_2E = 320'h0;
  parameter [319:0] INITVAL_2F = 320'h0;
  parameter [319:0] INITVAL_30 = 320'h0;
  parameter [319:0] INITVAL_31 = 320'h0;
  parameter [319:0] INITVAL_32 = 320'h0;
  parameter [319:0] INITVAL_33 = 320'h0;
  parameter [319:0] INITVAL_34 = 320'h0;
  parameter [319:0] INITVAL_35 = 320'h0;
  parameter [319:0] INITVAL_36 = 320'h0;
  parameter [319:0] INITVAL_37 = 320'h0;
  parameter [319:0] INITVAL_38 = 320'h0;
  parameter [319:0] INITVAL_39 = 320'h0;
  parameter [319:0] INITVAL_3A = 320'h0;
  parameter [319:0] INITVAL_3B = 320'h0;
  parameter [319:0] INITVAL_3C = 320'h0;
  parameter [319:0] INITVAL_3D = 320'h0;
  parameter [319:0] INITVAL_3E = 320'h0;
  parameter [319:0] INITVAL_3F = 320'h0;

  generate
    if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB" || CSDECODE_A != "0b000" || CSDECODE_B != "0b000"
        || (DATA_WIDTH_A == 36 && WRITEMODE_A != "NORMAL")) begin : gen_check
      DP16KD_option_is_not_modelled check ();
    end
  endgenerate

  // INITVAL_xx holds 16 words, 20 bits apart.
  localparam [64*320-1:0] INIT = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
    INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
    INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
    INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
    INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
  };
  reg [17:0] mem [0:1023];
  integer i;
  initial for (i = 0; i < 1024; i = i + 1) mem[i] = INIT[i*20+:18];

  wire select_a = CEA && {CSA2, CSA1, CSA0} == 3'b000;
  wire select_b = CEB && {CSB2, CSB1, CSB0} == 3'b000;
  wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3,
  ADA2, ADA1, ADA0};
  wire [17:0] write_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8,
  DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3,
  ADB2, ADB1, ADB0};
  wire [17:0] write_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8,
  DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};

  // The bits of word `old` that a port of this width sees at the address, right aligned.
  function [17:0] view;
    input integer width;
    input [13:0] address;
    input [17:0] old;
    case (width)
      1: view = {17'd0, old[address[3]*9+address[2:0]]};
      2: view = {16'd0, old[address[3]*9+address[2:1]*2+:2]};
      4: view = {14'd0, old[address[3]*9+address[2]*4+:4]};
      9: view = {9'd0, old[address[3]*9+:9]};
      default: view = old;
    endcase
  endfunction

  // Word `old` after a write of `data` by a port of this width.
  function [17:0] merge;
    input integer width;
    input [13:0] address;
    input [17:0] old, data;
    begin
      merge = old;
      case (width)
        1: merge[address[3]*9+address[2:0]] = data[0];
        2: merge[address[3]*9+address[2:1]*2+:2] = data[1:0];
        4: merge[address[3]*9+address[2]*4+:4] = data[3:0];
        9: merge[address[3]*9+:9] = data[8:0];
        default: begin
          if (address[0]) merge[8:0] = data[8:0];
          if (address[1]) merge[17:9] = data[17:9];
        end
      endcase
    end
  endfunction

  reg [17:0] read_a, read_b, out_a, out_b;
  wire [17:0] old_a = mem[address_a[13:4]];
  wire [17:0] old_b = mem[address_b[13:4]];
  wire [17:0] new_a = merge(DATA_WIDTH_A, address_a, old_a, write_a);
  wire [17:0] new_b = merge(DATA_WIDTH_B, address_b, old_b, write_b);

  // A synchronous reset clears the outputs and holds off a write; an asynchronous one only clears.
  wire clear_a = RESETMODE == "ASYNC" && RSTA;
  wire clear_b = RESETMODE == "ASYNC" && RSTB;
  wire reset_a = RESETMODE != "ASYNC" && RSTA;
  wire reset_b = RESETMODE != "ASYNC" && RSTB;

  generate
    if (DATA_WIDTH_A == 36) begin : gen_write_36
      wire [13:0] low_bytes = {12'd0, address_a[1:0]}, high_bytes = {12'd0, address_a[3:2]};
      wire [17:0] low = merge(18, low_bytes, mem[{address_a[13:5], 1'b0}], write_a);
      wire [17:0] high = merge(18, high_bytes, mem[{address_a[13:5], 1'b1}], write_b);
      always @(posedge CLKA)
        if (select_a && WEA) begin
          mem[{address_a[13:5], 1'b0}] <= low;
          mem[{address_a[13:5], 1'b1}] <= high;
        end
    end else begin : gen_port_a
      always @(posedge CLKA) if (select_a && WEA && !reset_a) mem[address_a[13:4]] <= new_a;
      wire [17:0] shown = WEA && WRITEMODE_A == "WRITETHROUGH" ? new_a : old_a;
      wire hold = !select_a || (WEA && WRITEMODE_A == "NORMAL");
      always @(posedge CLKA or posedge clear_a)
        if (clear_a) {out_a, read_a} <= 36'd0;
        else begin
          if (reset_a) read_a <= 18'd0;
          else if (!hold) read_a <= view(DATA_WIDTH_A, address_a, shown);
          if (reset_a) out_a <= 18'd0;
          else if (OCEA) out_a <= read_a;
        end
    end
    if (DATA_WIDTH_B == 36) begin : gen_read_36
      reg [35:0] read, out;
      initial {read, out} = 72'd0;
      wire [35:0] shown = {mem[{address_b[13:5], 1'b1}], mem[{address_b[13:5], 1'b0}]};
      always @(posedge CLKB or posedge clear_b)
        if (clear_b) {out, read} <= 72'd0;
        else begin
          if (reset_b) read <= 36'd0;
          else if (select_b) read <= shown;
          if (reset_b) out <= 36'd0;
          else if (OCEB) out <= read;
        end
    end else begin : gen_port_b
      always @(posedge CLKB) if (select_b && WEB && !reset_b) mem[address_b[13:4]] <= new_b;
      wire [17:0] shown = WEB && WRITEMODE_B == "WRITETHROUGH" ? new_b : old_b;
      wire hold = !select_b || (WEB && WRITEMODE_B == "NORMAL");
      always @(posedge CLKB or posedge clear_b)
        if (clear_b) {out_b, read_b} <= 36'd0;
        else begin
          if (reset_b) read_b <= 18'd0;
          else if (!hold) read_b <= view(DATA_WIDTH_B, address_b, shown);
          if (reset_b) out_b <= 18'd0;
          else if (OCEB) out_b <= read_b;
        end
    end
  endgenerate
  initial {read_a, read_b, out_a, out_b} = 72'd0;

  wire [17:0] q_a, q_b;
  generate
    if (DATA_WIDTH_B == 36) begin : gen_out_36
      assign {q_b, q_a} = REGMODE_B == "OUTREG" ? gen_read_36.out : gen_read_36.read;
    end else begin : gen_out
      assign q_a = REGMODE_A == "OUTREG" ? out_a : read_a;
      assign q_b = REGMODE_B == "OUTREG" ? out_b : read_b;
    end
  endgenerate
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
  DOA4, DOA3, DOA2, DOA1, DOA0} = q_a;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
  DOB4, DOB3, DOB2, DOB1, DOB0} = q_b;
endmodule

// P = A * B, 18 x 18 -> 36 bits, an operand is signed where its SIGNED pin is high. Combinational:
// synth_ecp5 uses neither the registers nor operand C nor the shift chains.
module MULT18X18D (
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0,
  input RST3, RST2, RST1, RST0,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
  P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTC_CLK = "NONE";
  parameter REG_PIPELINE_CLK = "NONE";
  parameter REG_OUTPUT_CLK = "NONE";

  generate
    if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_PIPELINE_CLK != "NONE"
        || REG_OUTPUT_CLK != "NONE") begin : gen_check
      MULT18X18D_register_is_not_modelled check ();
    end
  endgenerate

  wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1,
  A0};
  wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1,
  B0};
  wire signed [35:0] wide_a = {{18{SIGNEDA && a[17]}}, a};
  wire signed [35:0] wide_b = {{18{SIGNEDB && b[17]}}, b};
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
  P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = wide_a *
  wide_b;
endmodule
