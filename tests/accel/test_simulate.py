"""simulate(): equal tensors pass, and the first wrong element is named by layer, image and place."""

import json

import numpy as np
import pytest

from accel import tools
from accel.simulate import simulate
from accel.verilate import SimulationError

pytestmark = pytest.mark.skipif(not tools.available("verilator", "g++"), reason="verilator is not installed")

# Two layers on images of 3 tokens x 4 channels, two lanes: y = 2 * x - 128 (int8 of uint8), then an int32 sum
# of each token's channels, every third cycle. FAULT flips bit 0 of one element of the first layer.
TOP = """
module psaflow_top #(parameter int FAULT = -1, parameter int SHORT = 0) (
  input logic clk, input logic rst_n,
  input logic [15:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  input logic s_axis_tlast,
  output logic [31:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast);
  wire [15:0] scale_out_tdata;
  wire scale_out_tvalid, scale_out_tready;
  scale #(.FAULT(FAULT)) scale(.clk, .rst_n, .s_axis_tdata, .s_axis_tvalid, .s_axis_tready,
    .m_axis_tdata(scale_out_tdata), .m_axis_tvalid(scale_out_tvalid), .m_axis_tready(scale_out_tready));
  total #(.SHORT(SHORT)) total(.clk, .rst_n, .s_axis_tdata(scale_out_tdata), .s_axis_tvalid(scale_out_tvalid),
    .s_axis_tready(scale_out_tready), .m_axis_tdata, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast);
endmodule
"""
SCALE = """
module scale #(parameter int FAULT = -1) (
  input logic clk, input logic rst_n,
  input logic [15:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  output logic [15:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready);
  logic [31:0] beat_q;
  assign s_axis_tready = rst_n && (!m_axis_tvalid || m_axis_tready);
  always_ff @(posedge clk)
    if (!rst_n) begin
      m_axis_tvalid <= 1'b0;
      beat_q <= '0;
    end else if (s_axis_tready) begin
      m_axis_tvalid <= s_axis_tvalid;
      m_axis_tdata <= {s_axis_tdata[14:8], 1'b0, s_axis_tdata[6:0], 1'b0} ^ {8'h80, 8'h80}
          ^ (beat_q == FAULT ? 16'h0100 : 16'h0);
      if (s_axis_tvalid) beat_q <= beat_q + 1;
    end
endmodule
"""
TOTAL = """
module total #(parameter int SHORT = 0) (
  input logic clk, input logic rst_n,
  input logic [15:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  output logic [31:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready,
  output logic m_axis_tlast);
  logic [1:0] state_q, token_q;
  logic [31:0] sum_q;
  assign s_axis_tready = rst_n && !state_q[1];
  assign m_axis_tvalid = state_q == 2;
  assign m_axis_tdata = sum_q;
  assign m_axis_tlast = token_q == 2 - SHORT;
  always_ff @(posedge clk)
    if (!rst_n) begin
      state_q <= 2'd0;
      token_q <= 2'd0;
    end else if (s_axis_tvalid && s_axis_tready) begin
      sum_q <= (state_q == 0 ? 32'd0 : sum_q)
          + 32'($signed(s_axis_tdata[7:0])) + 32'($signed(s_axis_tdata[15:8]));
      state_q <= state_q + 2'd1;
    end else if (m_axis_tvalid && m_axis_tready) begin
      state_q <= 2'd0;
      token_q <= token_q == 2 ? 2'd0 : token_q + 2'd1;
    end
endmodule
"""
DESIGN = {
    "top": "psaflow_top",
    "input": {"lanes": 2, "bits": 8, "beats_per_image": 6, "tensor": "pixels"},
    "output": {"lanes": 1, "bits": 32, "beats_per_image": 3, "tensor": "logits"},
    "modules": [
        {"name": "scale", "op": "ChannelLUT", "sources": ["scale.sv"], "memories": []},
        {"name": "total", "op": "MatVec", "sources": ["total.sv"], "memories": []},
    ],
    "links": [
        {
            "signal": "scale_out",
            "tensor": "scaled",
            "node": "scale",
            "lanes": 2,
            "bits": 8,
            "beats_per_image": 6,
        },
    ],
}
PIXELS = np.random.default_rng(0).integers(0, 128, (5, 3, 4), dtype=np.uint8)
SCALED = (2 * PIXELS.astype(np.int16) - 128).astype(np.int8)
REFERENCES = {"scaled": SCALED, "logits": SCALED.sum(-1, dtype=np.int32)}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("verilated")


@pytest.fixture
def folder(tmp_path):
    def write(**parameters):
        rtl = tmp_path / "rtl"
        rtl.mkdir()
        top = TOP
        for name, value in parameters.items():
            top = top.replace(f".{name}({name})", f".{name}({value})")
        for name, text in (("psaflow_top", top), ("scale", SCALE), ("total", TOTAL)):
            (rtl / f"{name}.sv").write_text(text)
        (rtl / "design.json").write_text(json.dumps(DESIGN))
        return tmp_path

    return write


@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_every_link_of_a_right_design_equals_its_reference(folder, work, stalls):
    result = simulate(folder(), PIXELS, REFERENCES, seed=2, stalls=stalls, work=work)
    assert (result.mismatches, result.first_wrong, result.not_compared) == (0, None, ())
    assert result.link_mismatches == {"scaled": 0, "logits": 0}
    assert result.compared == SCALED.size + 15
    np.testing.assert_array_equal(result.logits, REFERENCES["logits"])
    assert result.logits.dtype == np.int32


def test_cycles_per_image_and_latency_are_those_of_the_pipeline(folder, work):
    result = simulate(folder(), PIXELS, REFERENCES, work=work)
    assert result.cycles_per_image == 9  # three tokens, two beats in and one out each
    assert result.latency_cycles == 3  # a register, two beats


def test_the_first_wrong_layer_image_and_element_are_named(folder, work):
    result = simulate(folder(FAULT=6 * 3 + 4), PIXELS, REFERENCES, work=work)
    assert result.link_mismatches == {"scaled": 1, "logits": 1}
    wrong = result.first_wrong
    right = int(SCALED[3, 2, 1])
    assert (wrong.node, wrong.tensor, wrong.image, wrong.index) == ("scale", "scaled", 3, (2, 1))
    assert (wrong.expected, wrong.got) == (right, right ^ 1)
    assert str(wrong) == f"scale: scaled of image 3 at [2, 1]: expected {right}, got {right ^ 1}"


def test_without_taps_only_the_logits_are_compared(folder, work):
    result = simulate(folder(FAULT=0), PIXELS, REFERENCES, work=work, taps=False)
    assert result.link_mismatches == {"logits": 1}
    assert (result.first_wrong.node, result.first_wrong.index) == ("psaflow_top", (0,))


def test_a_link_without_a_reference_is_reported_as_not_compared(folder, work):
    result = simulate(folder(), PIXELS, {"logits": REFERENCES["logits"]}, work=work)
    assert result.not_compared == ("scaled",)


def test_a_tlast_on_the_wrong_beat_is_an_error(folder, work):
    with pytest.raises(SimulationError, match="m_axis_tlast is 1 at beat 1 of image 0"):
        simulate(folder(SHORT=1), PIXELS, REFERENCES, work=work)


def test_images_and_references_of_a_wrong_shape_are_refused(folder, work):
    path = folder()
    with pytest.raises(ValueError, match="images: uint8 of 12 bytes each expected"):
        simulate(path, PIXELS[:, :2], REFERENCES, work=work)
    with pytest.raises(ValueError, match=r"reference scaled: \[5, ...\] of 12 elements each expected"):
        simulate(path, PIXELS, {"scaled": SCALED[:4]}, work=work)
