// Four activation memories of 16-byte words, each with one reader and one writer a cycle; three readers choose a bank.
// Bank 0 is written by the image, 1 by the loader, 2 and 3 by results. No two readers may choose one bank in one cycle.
// Timing: data 2 cycles after the address.
module simd_banks #(
  parameter int IMAGE_WORDS  = 256,
  parameter int MATRIX_WORDS = 512,
  parameter int BANK_WORDS   = 2048
) (
  input  logic         clk,
  input  logic [2:0]   read,
  input  logic [5:0]   read_bank,
  input  logic [35:0]  read_address,
  output logic [383:0] read_data,
  input  logic [3:0]   image_write,
  input  logic [11:0]  image_address,
  input  logic [31:0]  image_data,
  input  logic         matrix_write,
  input  logic [11:0]  matrix_address,
  input  logic [127:0] matrix_data,
  input  logic [1:0]   result_write,
  input  logic [3:0]   result_bank,
  input  logic [23:0]  result_address,
  input  logic [255:0] result_data
);

  wire unused = &{1'b0, image_address, matrix_address, result_address, read_address};  // high bits of small memories
  logic [127:0] data[4];
  logic [11:0] address[4];
  always_comb begin
    for (int b = 0; b < 4; b++) begin
      address[b] = read_address[11:0];
      if (read[1] && read_bank[3:2] == 2'(b)) address[b] = read_address[23:12];
      if (read[2] && read_bank[5:4] == 2'(b)) address[b] = read_address[35:24];
      if (read[0] && read_bank[1:0] == 2'(b)) address[b] = read_address[11:0];
    end
  end
  for (genvar q = 0; q < 4; q++) begin : gen_image
    ram #(
      .WIDTH(32), .DEPTH(IMAGE_WORDS)
    ) image_ram (
      .clk, .write(image_write[q]), .write_address($clog2(IMAGE_WORDS)'(image_address)), .write_data(image_data),
      .read_address($clog2(IMAGE_WORDS)'(address[0])), .read_data(data[0][q*32+:32])
    );
  end
  ram #(
    .WIDTH(128), .DEPTH(MATRIX_WORDS)
  ) matrix_ram (
    .clk, .write(matrix_write), .write_address($clog2(MATRIX_WORDS)'(matrix_address)), .write_data(matrix_data),
    .read_address($clog2(MATRIX_WORDS)'(address[1])), .read_data(data[1])
  );
  for (genvar b = 2; b < 4; b++) begin : gen_result
    logic first, second;
    assign first = result_write[0] && result_bank[1:0] == 2'(b);
    assign second = result_write[1] && result_bank[3:2] == 2'(b);
    ram #(
      .WIDTH(128), .DEPTH(BANK_WORDS)
    ) result_ram (
      .clk, .write(first || second), .write_address($clog2(BANK_WORDS)'(second ? result_address[23:12] : result_address[11:0])),
      .write_data(second ? result_data[255:128] : result_data[127:0]),
      .read_address($clog2(BANK_WORDS)'(address[b])), .read_data(data[b])
    );
  end

  logic [5:0] bank_q, bank_qq;
  always_ff @(posedge clk) {bank_q, bank_qq} <= {read_bank, bank_q};
  for (genvar r = 0; r < 3; r++) begin : gen_reader
    assign read_data[r*128+:128] = data[bank_qq[r*2+:2]];
  end

endmodule
