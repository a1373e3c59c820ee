"""The tiny network after synthesis: mapped ECP5 cells, simulated, against onnxruntime."""

import json

import numpy as np
import onnxruntime
import pytest

from accel.synth.netlist import cell_arguments, netlist
from accel.verilate import Stream
from accel.verilate import build as verilate

pytestmark = [pytest.mark.slow, pytest.mark.tools]


def test_post_synthesis_netlist_gives_the_integer_graph_s_logits_under_random_stalls(build, data, tmp_path):
    images = np.load(data)["x_test"][:3]
    session = onnxruntime.InferenceSession(build / "3_integer.onnx")
    expected = session.run(None, {"pixels": images})[0]
    design = json.loads((build / "rtl" / "design.json").read_text())
    sources = netlist(build / "rtl", tmp_path / "netlist.v")
    assert "MULT18X18D" in sources[0].read_text() and "DP16KD" in sources[0].read_text()
    ports = ([Stream("s_axis", 1, packet=design["input"]["beats_per_image"])], [Stream("m_axis", 4)])
    simulator = verilate(sources, design["top"], tmp_path / "sim", *ports, arguments=cell_arguments())
    run = simulator.run({"s_axis": images.reshape(-1, 1)}, {"m_axis": expected.size}, seed=3, valid_probability=0.7, ready_probability=0.7)
    logits = run.outputs["m_axis"].data.reshape(-1).view("<i4").reshape(expected.shape)
    assert (logits == expected).all()
