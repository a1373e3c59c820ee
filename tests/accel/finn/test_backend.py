"""What FINN's flow asks of a backend: a choice of RTL, files, Tcl."""

import re
from pathlib import Path

import numpy as np

from accel.instance import sources_of
from tests.accel.finn.conftest import PART, specialized

TABLE = np.random.default_rng(0).integers(-128, 128, (6, 256)).astype(np.int8)


def generated(folder: Path, **attributes):
    """A PSALUT after code generation, as PrepareIP does it."""
    model, op = specialized("PSALUT", [TABLE], NumChannels=6, PE=2, inputDataType="INT8", numInputVectors=[1, 4, 1], **attributes)
    op.set_nodeattr("code_gen_dir_ipgen", str(folder))
    op.code_generation_ipgen(model, PART, 10.0)
    return op


def test_finn_takes_the_rtl_class_and_keeps_the_attributes(finn) -> None:
    from accel.finn import PSALUT_rtl

    _, op = specialized("PSALUT", [TABLE], NumChannels=6, PE=2, inputDataType="INT8", numInputVectors=[1, 4, 1])
    assert type(op) is PSALUT_rtl
    assert op.onnx_node.domain == "finn.custom_op.fpgadataflow.rtl"
    assert (op.get_nodeattr("NumChannels"), op.get_nodeattr("PE"), op.get_exp_cycles()) == (6, 2, 12)


def test_files_lie_in_the_folder_that_finn_gave_and_are_named_absolutely(finn: Path) -> None:
    op = generated(finn)
    assert sorted(p.name for p in finn.iterdir()) == ["PSALUT_rtl_0.v", "PSALUT_rtl_0_table_00.hex", "PSALUT_rtl_0_table_01.hex"]
    assert f'"{finn.resolve()}/PSALUT_rtl_0_table"' in (finn / "PSALUT_rtl_0.v").read_text()
    names = op.get_rtl_file_list()
    assert names == [Path(p).name for p in op.get_rtl_file_list(abspath=True)]
    assert names[0] == "channel_lut.sv" and names[-1] == "PSALUT_rtl_0.v"
    assert op.get_nodeattr("ip_path") == op.get_nodeattr("ipgen_path") == str(finn.resolve())


def test_the_tcl_still_names_the_module_after_the_node_was_renamed(finn: Path) -> None:
    op = generated(finn)
    op.onnx_node.name = "partition_0_PSALUT_rtl_0"
    *added, cell = op.code_generation_ipi()
    assert cell == "create_bd_cell -type module -reference PSALUT_rtl_0 partition_0_PSALUT_rtl_0"
    assert all(Path(line.removeprefix("add_files -norecurse ")).is_file() for line in added)
    assert len(added) == len(op.get_rtl_file_list())


def test_our_modules_have_other_names_than_finns(finn: Path) -> None:
    from finn.util.settings import get_settings

    library = Path(get_settings().finn_rtllib)
    theirs = {name for p in (*library.rglob("*.sv"), *library.rglob("*.v")) for name in re.findall(r"^\s*module\s+(\w+)", p.read_text(), re.M)}
    ours = {source.removesuffix(".sv") for module in ("channel_lut", "channel_requant", "token_mix") for source in sources_of(module)}
    assert ours & theirs == {"requant"}  # of FINN's Requant, which our graphs do not hold


def test_the_wrapper_has_the_ports_that_finn_connects(finn: Path) -> None:
    op = generated(finn)
    text, ports = (finn / "PSALUT_rtl_0.v").read_text(), op.get_verilog_top_module_intf_names()
    assert (ports["s_axis"], ports["m_axis"], ports["clk"], ports["rst"]) == ([("in0_V", 16)], [("out0_V", 16)], ["ap_clk"], ["ap_rst_n"])
    assert "[16-1:0] in0_V_TDATA" in text and "[16-1:0] out0_V_TDATA" in text
    for port in ("ap_clk", "ap_rst_n", "in0_V_TDATA", "in0_V_TVALID", "in0_V_TREADY", "out0_V_TDATA", "out0_V_TVALID", "out0_V_TREADY"):
        assert f" {port}" in text
