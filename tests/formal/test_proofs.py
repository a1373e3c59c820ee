"""Every stream module keeps its promises whatever arrives and whoever stalls, and a planted fault is found."""

import pytest

from accel import tools

from .prove import Fault, Proof, verdict

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("yosys"), reason="yosys is not installed"),
]

OUT = {"output_buffer": {"DEPTH": 4}}
PROOFS = (
    Proof("skid_buffer", 1, (
        Fault("the spare is overwritten", "if (accept) spare_q <=", "spare_q <="),
        Fault("always ready", "= !spare_valid_q;", "= 1'b1;"),
        Fault("the output moves without tready", "if (m_axis_tready || !m_axis_tvalid) m_axis_tdata", "m_axis_tdata"),
    )),
    Proof("output_buffer", 2, (
        Fault("the write address wraps late", "write_q <= write_q == LAST_ADDRESS", "write_q <= write_q == LAST_ADDRESS + 1'b1"),
        Fault("a credit is not returned", "COUNT_BITS'(take) - COUNT_BITS'(pop)", "COUNT_BITS'(take)"),
        Fault("one credit too many", "taken_q != COUNT_BITS'(DEPTH)", "taken_q != COUNT_BITS'(DEPTH + 1)"),
        Fault("the beat is not waited for", "&& (m_axis_tready || !m_axis_tvalid)", ""),
        Fault("tlast a beat early", "beat_q == BEAT_BITS'(BEATS - 1)", "beat_q == BEAT_BITS'(BEATS - 2)"),
    )),
    Proof("stream_fork", 1, (
        Fault("a does not wait for b", ".s_axis_tvalid(s_axis_tvalid && b_ready)", ".s_axis_tvalid"),
        Fault("tready of one branch only", "a_ready && b_ready", "a_ready"),
    )),
    Proof("fifo", 2, (Fault("a beat is pushed before it is taken", ".push(accept)", ".push(s_axis_tvalid)"),)),
    Proof("fifo", 5, (
        Fault("the read address wraps early", "read_q <= read_q == LAST_ADDRESS", "read_q <= read_q == LAST_ADDRESS - 1'b1"),
        Fault("one beat too many", "stored_q != COUNT_BITS'(DEPTH)", "1'b1", 16),
        Fault("reads without room", "stored_q != '0 && room", "stored_q != '0", 16),
        Fault("pushed a cycle early", ".STAGES(2)", ".STAGES(1)"),
    ), {"LARGE": 1}, sizes=OUT, smaller={"DEPTH <= 64": "DEPTH <= 2"}),
    *(Proof("width_converter", 1, faults, {"IN_LANES": narrow, "OUT_LANES": wide}) for narrow, wide, faults in (
        (1, 3, (Fault("the word leaves a beat early", "RATIO - 1", "RATIO - 2"),
                Fault("kept without tready", "assign step = s_axis_tvalid && s_axis_tready", "assign step = s_axis_tvalid"))),
        (2, 4, ()),
        (3, 1, (Fault("the word leaves with its first part", "m_axis_tready && last_phase)", "m_axis_tready)"),
                Fault("tlast on every part", "last && last_phase", "last"))),
    )),
)  # fmt: skip


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.name)
def test_the_properties_are_proven(proof, tmp_path):
    assert verdict(proof, tmp_path) == "proven"


@pytest.mark.parametrize(
    "proof, fault",
    [pytest.param(proof, fault, id=f"{proof.name}-{fault.name}") for proof in PROOFS for fault in proof.faults],
)
def test_a_planted_fault_gives_a_counterexample(proof, fault, tmp_path):
    assert verdict(proof, tmp_path, fault) == "refuted"


def test_every_module_has_a_fault_that_is_found():
    assert {proof.module for proof in PROOFS} == {proof.module for proof in PROOFS if proof.faults}
