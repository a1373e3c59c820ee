"""Products made of LUTs and pairs of products in one multiplier: exact on all operands."""

import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from accel.instance import RTL, Folding, Rounding, mat_vec, token_mix

from .conftest import Check, random_int8

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
CODES = np.arange(-128, 128)

MULTIPLIER = """
module bench;
  logic signed [7:0] a, b;
  logic signed [15:0] product;
  int wrong = 0;
  lut_multiplier dut (.a, .b, .product);
  initial begin
    for (int i = 0; i < 65536; i++) begin
      {a, b} = 16'(i);
      #1 if (product !== 16'(a) * 16'(b)) wrong++;
    end
    $display("wrong %0d", wrong);
    $finish;
  end
endmodule
"""

# every high term and every shared operand with low terms of all kinds; COUNT equal products are summed
PACKED = """
module bench;
  localparam int COUNT = <count>;
  localparam int SUMMED = <summed>;
  logic clk = 0;
  logic signed [7:0] a, b, c;
  logic signed [17:0] high, low;
  int wrong = 0;
  packed_products #(.COUNT(COUNT), .SUMMED(SUMMED)) dut (
    .clk, .high_terms({COUNT{a}}), .low_terms({COUNT{b}}), .shared({COUNT{c}}), .high, .low
  );
  initial begin
    for (int i = 0; i < 65536; i++)
      for (int j = 0; j < 9; j++) begin
        {a, c} = 16'(i);
        case (j)
          0: b = -128; 1: b = -127; 2: b = -1; 3: b = 0; 4: b = 1; 5: b = 126; 6: b = 127;
          7: b = a; default: b = c;
        endcase
        repeat (1 + SUMMED) begin #1 clk = 1; #1 clk = 0; end
        if (high !== COUNT * (18'(a) * 18'(c)) || low !== COUNT * (18'(b) * 18'(c))) wrong++;
      end
    $display("wrong %0d", wrong);
    $finish;
  end
endmodule
"""


def wrong(bench: str, folder: Path, *modules: str) -> str:
    (folder / "bench.sv").write_text(bench)
    sources = [str(RTL / f"{module}.sv") for module in modules]
    subprocess.run(["iverilog", "-g2012", "-o", "bench", "bench.sv", *sources], cwd=folder, check=True)
    return subprocess.run(["vvp", "bench"], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.tools
@icarus
def test_the_multiplier_of_luts_is_exact_for_all_operands(tmp_path):
    assert wrong(MULTIPLIER, tmp_path, "lut_multiplier") == "wrong 0\n"


@pytest.mark.tools
@icarus
@pytest.mark.parametrize("count, summed", [(1, 0), (1, 1), (4, 1)])
def test_packed_products_are_exact_for_all_high_and_shared_operands(tmp_path, count, summed):
    bench = PACKED.replace("<count>", str(count)).replace("<summed>", str(summed))
    assert wrong(bench, tmp_path, "packed_products") == "wrong 0\n"


def test_the_equation_of_packed_products_is_exact_for_all_operands():
    a, c = CODES[:, None], CODES[None, :]
    for b in CODES:
        product = (a * 2**18 + b) * c
        low = (product & 2**18 - 1 ^ 2**17) - 2**17
        assert (low == b * c).all()
        assert ((product >> 18) + (product >> 17 & 1) == a * c).all()


@pytest.mark.parametrize("simd, pe", [(1, 3), (2, 2), (3, 4), (6, 3), (12, 2)])
@pytest.mark.parametrize("packed", [0, 1])
def test_units_of_packed_and_of_lut_products_equal_the_reference(check: Check, simd, pe, packed):
    folding = Folding(pe, simd, fabric=0 if packed else pe * simd // 2 + 1, packed=packed)
    x, weight = random_int8(1, 2, 4, 12), random_int8(2, 12, 12)
    zero = np.zeros(12, np.int32)
    y = x.astype(np.int32) @ weight.T.astype(np.int32)
    check(mat_vec("dut", weight, zero, None, 4, folding, Rounding()), {"s_axis": x}, {"m_axis": y}, out_bits=32)


@pytest.mark.parametrize("packed", [0, 1])
def test_a_token_mixer_of_packed_or_lut_products_equals_the_reference(check: Check, packed):
    folding = Folding(3, 6, fabric=0 if packed else 10, packed=packed)
    x, weight = random_int8(1, 2, 12, 6), random_int8(2, 5, 12)
    zero, shift = np.zeros(5, np.int32), np.full(5, 16, np.int32)
    y = (weight.astype(np.int32) @ x + 2**15 - 1 + ((weight.astype(np.int32) @ x >> 16) & 1)) >> 16
    check(token_mix("dut", weight, zero, shift, 6, folding, Rounding()), {"s_axis": x}, {"m_axis": y})


def test_extreme_sums_of_packed_products_do_not_touch_each_other(check: Check):
    ends = np.array([-128, -127, 127, 0])
    weight = np.array(list(itertools.product(ends, ends)), np.int8).repeat(4, axis=1)[:, :8]
    x = np.array(list(itertools.product(ends, ends)), np.int8).repeat(4, axis=1)[None]
    y = x.astype(np.int32) @ weight.T.astype(np.int32)
    instance = mat_vec("dut", weight, np.zeros(16, np.int32), None, 16, Folding(2, 8, packed=1), Rounding())
    check(instance, {"s_axis": x}, {"m_axis": y}, out_bits=32)
