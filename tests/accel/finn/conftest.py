"""A node's generated files in Verilator, in the place of FINN's own simulator: FINN packs the beats, our modules run, FINN unpacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.util.basic import qonnx_make_model

from accel import tools
from accel.verilate import Stream, build

PART = "xczu7ev-ffvc1156-2-e"
SHIM = """\
module shim (
  input logic clk, input logic rst_n,
  input logic [{in_bits}-1:0] s_axis_tdata, input logic s_axis_tvalid, output logic s_axis_tready,
  output logic [{out_bits}-1:0] m_axis_tdata, output logic m_axis_tvalid, input logic m_axis_tready
);
  {name} node (.ap_clk(clk), .ap_rst_n(rst_n), .in0_V_TDATA(s_axis_tdata), .in0_V_TVALID(s_axis_tvalid), .in0_V_TREADY(s_axis_tready),
    .out0_V_TDATA(m_axis_tdata), .out0_V_TVALID(m_axis_tvalid), .out0_V_TREADY(m_axis_tready));
endmodule
"""


def specialized(op_type: str, constants: list[np.ndarray], **attributes: Any) -> tuple[ModelWrapper, Any]:
    """A graph of one node of ours after FINN's SpecializeLayers, and FINN's view of the node."""
    from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
    from qonnx.transformation.general import GiveUniqueNodeNames

    inputs = ["x", *(f"c{i}" for i in range(len(constants)))]
    node = helper.make_node(op_type, inputs, ["y"], domain="finn.custom_op.fpgadataflow", backend="fpgadataflow", **attributes)
    op = getCustomOp(node)
    shapes = {"x": op.get_normal_input_shape(), "y": op.get_normal_output_shape()}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    model = ModelWrapper(qonnx_make_model(helper.make_graph([node], "g", values[:1], values[1:])))
    for name, constant in zip(inputs[1:], constants, strict=True):
        model.set_initializer(name, constant)
    model.set_tensor_datatype("x", DataType[attributes["inputDataType"]])
    model.set_tensor_datatype("y", DataType["INT8"])
    model = model.transform(SpecializeLayers(PART)).transform(GiveUniqueNodeNames())
    return model, getCustomOp(model.graph.node[0])


Check = Callable[..., None]


@pytest.fixture
def check(finn: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Check:
    """check(op type, constants, x, attributes): the generated hardware gives what the op gives in Python, with stalls and without."""
    if not tools.available("verilator", "g++"):
        pytest.skip("verilator or g++ is not installed")
    work = tmp_path_factory.mktemp("verilated")

    def run(op_type: str, constants: list[np.ndarray], x: np.ndarray, **attributes: Any) -> None:
        from finn.transformation.fpgadataflow.prepare_ip import PrepareIP

        model, _ = specialized(op_type, constants, **attributes)
        model = model.transform(PrepareIP(PART, 10.0))
        op = getCustomOp(model.graph.node[0])
        context = {"x": x.astype(np.float32).reshape(op.get_normal_input_shape())} | {f"c{i}": c for i, c in enumerate(constants)}
        op.execute_node(context, model.graph)
        expected = context.pop("y")
        in_bits, out_bits = op.get_instream_width_padded(), op.get_outstream_width_padded()
        shim = finn / "shim.sv"
        shim.write_text(SHIM.format(in_bits=in_bits, out_bits=out_bits, name=op.get_nodeattr("gen_top_module")))
        files = [*map(Path, op.get_rtl_file_list(abspath=True)), shim]
        simulator = build(files, "shim", work, [Stream("s_axis", in_bits // 8)], [Stream("m_axis", out_bits // 8)])

        def stream(self: Any, sim: tuple[int, float], io_dict: dict[str, dict[str, list[int]]]) -> None:
            seed, chance = sim
            (words,) = io_dict["inputs"].values()
            data = np.frombuffer(b"".join(int(w).to_bytes(in_bits // 8, "little") for w in words), np.uint8).reshape(len(words), -1)
            beats = self.get_number_output_values()
            done = simulator.run({"s_axis": data}, {"m_axis": beats}, seed, chance, chance, idle_cycles=100_000)
            io_dict["outputs"]["out0"] = [int.from_bytes(row.tobytes(), "little") for row in done.outputs["m_axis"].data]
            self.set_nodeattr("cycles_rtlsim", done.cycles)

        for name, replacement in (("reset_rtlsim", lambda *_: None), ("close_rtlsim", lambda *_: None), ("rtlsim_multi_io", stream)):
            monkeypatch.setattr(type(op), name, replacement)
        op.set_nodeattr("exec_mode", "rtlsim")
        for sim in ((0, 1.0), (1, 0.5)):
            monkeypatch.setattr(type(op), "get_rtlsim", lambda self, sim=sim: sim)
            context["y"] = np.full_like(expected, np.nan)
            op.execute_node(context, model.graph)
            np.testing.assert_array_equal(context["y"], expected)
        assert op.get_nodeattr("cycles_rtlsim") >= op.get_exp_cycles()
        assert len(np.unique(expected)) > 20

    return run
