"""A node of FINN as one instance of a module of ours: files, Tcl, and FINN's simulation of it."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from onnx import NodeProto

from accel.instance import RTL, Instance, sources_of
from accel.verilog import parameter_lines

WRAPPER = """\
// {comment}
module {name} (
  (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF in0_V:out0_V, ASSOCIATED_RESET ap_rst_n" *)
  (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 ap_clk CLK" *)
  input  wire ap_clk,
  (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)
  input  wire ap_rst_n,
  input  wire [{in_bits}-1:0] in0_V_TDATA,
  input  wire in0_V_TVALID,
  output wire in0_V_TREADY,
  output wire [{out_bits}-1:0] out0_V_TDATA,
  output wire out0_V_TVALID,
  input  wire out0_V_TREADY
);

  {module} #(
{parameters}
  ) core (
    .clk(ap_clk), .rst_n(ap_rst_n),
    .s_axis_tdata(in0_V_TDATA), .s_axis_tvalid(in0_V_TVALID), .s_axis_tready(in0_V_TREADY), .s_axis_tlast(1'b0),
    .m_axis_tdata(out0_V_TDATA), .m_axis_tvalid(out0_V_TVALID), .m_axis_tready(out0_V_TREADY), .m_axis_tlast()
  );

endmodule
"""


class InstanceBackend(RTLBackend):
    """Put before the op's class among the bases, so that the op answers for everything but the hardware.

    FINN adds a node to its block design by the name of a Verilog module, so the wrapper is Verilog around our SystemVerilog. The
    memories' files are named with their absolute paths, as FINN's own memories are.
    """

    module: ClassVar[str]  # of ../rtl/

    @abstractmethod
    def instance(self, constants: list[np.ndarray]) -> Instance:
        """The module of ours with this node's parameters; `constants` are the inputs behind the stream."""

    def generate_hdl(self, model: Any, fpgapart: str, clk: float) -> None:
        """Write wrapper and memories into the folder that FINN gave the node."""
        folder = Path(self.get_nodeattr("code_gen_dir_ipgen")).resolve()
        part = self.instance([model.get_initializer(name) for name in self.onnx_node.input[1:]])
        for file, text in part.memories.items():
            (folder / file).write_text(text)
        parameters = {name: str(folder / value) if isinstance(value, str) else value for name, value in part.parameters.items()}
        text = WRAPPER.format(
            comment=f"{self.onnx_node.op_type}: {self.get_exp_cycles()} cycles an image.", name=self.onnx_node.name, module=part.module,
            in_bits=self.get_instream_width_padded(), out_bits=self.get_outstream_width_padded(),
            parameters=parameter_lines(parameters),
        )  # fmt: skip
        (folder / f"{self.onnx_node.name}.v").write_text(text)
        self.set_nodeattr("gen_top_module", self.onnx_node.name)
        self.set_nodeattr("ipgen_path", str(folder))
        self.set_nodeattr("ip_path", str(folder))

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Our sources, then the wrapper; names without folders unless `abspath`."""
        files = [RTL / source for source in sources_of(self.module)]
        files.append(Path(self.get_nodeattr("code_gen_dir_ipgen")) / f"{self.get_nodeattr('gen_top_module')}.v")
        return [str(file.resolve()) if abspath else file.name for file in files]

    def code_generation_ipi(self) -> list[str]:
        """Tcl for the block design."""
        added = [f"add_files -norecurse {file}" for file in self.get_rtl_file_list(abspath=True)]
        return [*added, f"create_bd_cell -type module -reference {self.get_nodeattr('gen_top_module')} {self.onnx_node.name}"]

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """FINN's simulation of the wrapper where exec_mode is rtlsim, else the op in Python.

        FINN streams every input of a node into its simulation; our parameters are no streams, so a node without them is run.
        """
        if self.get_nodeattr("exec_mode") != "rtlsim":
            super(RTLBackend, self).execute_node(context, graph)
            return
        stream = NodeProto.FromString(self.onnx_node.SerializeToString())
        del stream.input[1:]
        alone = type(self)(stream, onnx_opset_version=self.onnx_opset_version)
        RTLBackend.execute_node(alone, context, graph)
        self.set_nodeattr("cycles_rtlsim", alone.get_nodeattr("cycles_rtlsim"))
