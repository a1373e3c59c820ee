"""Every stream module keeps its promises whatever arrives and whoever stalls, and a planted fault is found."""

import pytest

from accel import tools
from accel.instance import RTL

from .prove import Fault, Proof, verdict

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("yosys"), reason="yosys is not installed"),
]

PARTS = {"matrix_core", "token_buffer"}  # proven inside mat_vec and token_mix
OUT = {"output_buffer": {"DEPTH": 4}}


def words(values, bits=8):
    """The text of a memory file."""
    return "".join(f"{value & (1 << bits) - 1:x}\n" for value in values)


def tables(entries):
    """channel_lut's memories of two channels, as its properties expect them; the last entry is apart if they are knots."""
    channels = [[5 * i + 3 for i in range(entries + 1)], [-7 * i for i in range(entries + 1)]]
    return {
        "table_00.hex": words(value for channel in channels for value in channel[:-1]),
        "table_00_last.hex": words(channel[-1] for channel in channels),
    }


def parameter(mult, bias, shift):
    """A word of channel_requant's memory: {shift of 1 bit, bias of 4, mult of 3}."""
    return shift << 7 | (bias & 15) << 3 | mult & 7


PLACES = ("matrix_core", "PLACES > 16 ? PLACES : 16", "4")
LUT_FAULTS = (
    Fault("the channel stays", "else if (accept) fold_q <=", "else if (1'b0) fold_q <="),
    Fault("a beat is taken without room", "s_axis_tvalid && s_axis_tready", "s_axis_tvalid", 16),
)
PROOFS = (
    Proof("skid_buffer", 1, (
        Fault("the spare is overwritten", "if (accept) spare_q <=", "spare_q <="),
        Fault("always ready", "= !spare_valid_q;", "= 1'b1;"),
        Fault("the output moves without tready", "if (m_axis_tready || !m_axis_tvalid) m_axis_tdata", "m_axis_tdata"),
    )),
    Proof("output_buffer", 2, (
        Fault("the write address wraps late", "write_q <= write_q == LAST_ADDRESS", "write_q <= write_q == LAST_ADDRESS + 1'b1"),
        Fault("a credit is not returned", "(take ? COUNT_BITS'(GROUP) : '0) - COUNT_BITS'(pop)", "(take ? COUNT_BITS'(GROUP) : '0)"),
        Fault("one credit too many", "taken_q <= COUNT_BITS'(DEPTH - GROUP)", "taken_q <= COUNT_BITS'(DEPTH - GROUP + 1)"),
        Fault("the beat is not waited for", "&& (m_axis_tready || !m_axis_tvalid)", ""),
        Fault("tlast a beat early", "beat_q == BEAT_BITS'(BEATS - 1)", "beat_q == BEAT_BITS'(BEATS - 2)"),
    )),
    Proof("output_buffer", 2, (
        Fault("a group takes one credit", "take ? COUNT_BITS'(GROUP)", "take ? COUNT_BITS'(1)"),
    ), {"GROUP": 2}),
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
    ), {"LARGE": 1}, sizes=OUT, smaller=("fifo", "DEPTH <= 64", "DEPTH <= 2")),
    Proof("channel_lut", 4, LUT_FAULTS, {"B": 0}, sizes=OUT, memories=tables(256)),
    Proof("channel_lut", 4, (), {"B": 0, "LOWEST": 0}, sizes=OUT, memories=tables(256)),
    Proof("channel_lut", 7, (Fault("pushed a cycle early", "? 2 : 5", "? 2 : 4"),), {"B": 6}, sizes=OUT, memories=tables(4)),
    Proof("channel_lut", 7, (), {"B": 7, "HALF_UP": 1}, sizes=OUT, memories=tables(2)),
    Proof("channel_requant", 9, (
        Fault("the channel moves without a beat", "else if (accept) fold_q", "else fold_q"),
        Fault("the shift comes a cycle early", "shift_value_q <= shift_q", "shift_value_q <= params[MULT_BITS+BIAS_BITS]"),
        Fault("a value bit is lost", "VALUE_BITS'(product_q) + VALUE_BITS'(bias_q)", "VALUE_BITS'(product_q[4:0]) + VALUE_BITS'(bias_q)", 14),
    ), sizes=OUT, memories={"param.hex": words((parameter(3, -5, 0), parameter(-2, 6, 1)))}),
    Proof("residual_add", 6, (
        Fault("a is taken alone", "s_axis_a_tready = room && s_axis_b_tvalid", "s_axis_a_tready = room"),
        Fault("b is shifted", "(SUM_BITS'(b) <<< B_SHIFT)", "(SUM_BITS'(b) <<< A_SHIFT)"),
        Fault("taken without room", "s_axis_b_tvalid && room", "s_axis_b_tvalid", 16),
    ), sizes=OUT),
    Proof("residual_add", 6, (), {"HALF_UP": 1}, sizes=OUT),
    Proof("token_mean", 7, (
        Fault("the sum goes on into the next image", "first_q <= token_q == '0", "first_q <= 1'b0", 24),
        Fault("a token too few", "token_q == TOKEN_BITS'(T - 1)", "token_q == TOKEN_BITS'(T - 2)", 16),
        Fault("the sum is written a channel off", "mem[address_q] <= sums", "mem[fold_q] <= sums", 16),
    ), sizes=OUT),
    Proof("ping_pong", 1, (
        Fault("a word is written over", "!full_q[1]", "1'b1"),
        Fault("ready before the last write", "ADDRESS_BITS'(BEATS - 1)", "ADDRESS_BITS'(BEATS - 2)"),
    )),
    Proof("input_guard", 1, (
        Fault("a long image is not cut", "if (long_now) drop_q <= 1'b1;\n      else if", "if"),
        Fault("a short image is not filled up", "if (short_now) fill_q <= 1'b1;\n      else if", "if"),
        Fault("it drops one beat only", "(s_axis_tvalid && s_axis_tlast)", "s_axis_tvalid"),
        Fault("it fills up with what the host shows", "fill_q ? WIDTH'(0) : s_axis_tdata", "s_axis_tdata"),
    )),
    Proof("patches", 5, (
        Fault("read before it came", "read_q < write_address", "1'b1"),
        Fault("a step to the next line too short", "LINE - SEGMENT + 1)", "LINE - SEGMENT)"),
        Fault("issued without room", "write_address) && room", "write_address)", 20),
    ), sizes=OUT),
    Proof("mat_vec", 18, (
        Fault("issued without room", "issue = ready && primed && (!last_col || room)", "issue = ready && primed", 24),
        Fault("the token is left with its first rows", ".done(issue && last_col && last_row)", ".done(issue && last_col)", 24),
    ), smaller=PLACES, free="dut.core.results"),
    Proof("mat_vec", 18, (
        Fault("a row is left out", "ROW_BITS'(ROWS - 1)", "ROW_BITS'(ROWS - 2)", 30),
        Fault("a beat is taken while rows are issued", "row_q == '0 && primed && (!last_col || room)", "primed && (!last_col || room)", 30),
    ), {"K": 2, "M": 2, "PE": 1}, smaller=PLACES, free="dut.core.results"),
    Proof("token_mix", 18, (
        Fault("issued before its channel came", "write_word_q > word_q", "write_word_q >= word_q", 24),
        Fault("issued without room", "issue = available && primed && (!last_step || room)", "issue = available && primed", 30),
    ), smaller=PLACES, free="dut.core.results"),
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


def test_every_stream_module_has_a_proof_and_a_fault_that_is_found():
    streams = {path.stem for path in RTL.glob("*.sv") if "s_axis" in path.read_text() or "m_axis" in path.read_text()}
    assert {proof.module for proof in PROOFS if proof.faults} == streams - PARTS
