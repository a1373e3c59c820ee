"""What our modules cost on AMD devices."""

import pytest

from custom_ops.hw.node import Memory


@pytest.mark.parametrize(("memory", "blocks", "luts"), [
    (Memory("param", 96, 24), 0, 48), (Memory("param", 128, 20), 0, 40), (Memory("param", 129, 2), 1, 0), (Memory("table", 24576, 8), 11, 0),
    (Memory("bank", 64, 32, rom=False), 0, 32), (Memory("bank", 65, 32, rom=False), 1, 0), (Memory("weight", 512, 64), 2, 0),
])  # fmt: skip
def test_a_memory_takes_blocks_or_luts_by_the_rule_of_the_modules(finn, memory: Memory, blocks: int, luts: int) -> None:
    from custom_ops.finn.cost import block_rams, memory_luts

    assert (block_rams(memory), memory_luts([memory])) == (blocks, luts)


def test_efficiency_counts_blocks_only(finn) -> None:
    from custom_ops.finn.cost import block_efficiency

    assert block_efficiency([Memory("weight", 512, 36), Memory("param", 96, 24)]) == 1.0
    assert block_efficiency([Memory("weight", 256, 36)]) == 0.5
    assert block_efficiency([Memory("param", 96, 24)]) == 1.0


@pytest.mark.parametrize(("op", "attributes", "synthesised"), [
    ("PSALUT", {"PE": 1, "inputDataType": "INT8"}, 84), ("PSALUT", {"PE": 8, "inputDataType": "INT8"}, 86),
    ("PSARequant", {"PE": 4, "inputDataType": "INT16", "multBits": 0, "biasBits": 15, "shiftBits": 3}, 439),
    ("PSARequant", {"PE": 4, "inputDataType": "INT8", "multBits": 16, "biasBits": 17, "shiftBits": 3}, 682),
    ("PSATokenMix", {"PE": 1, "SIMD": 8, "inputDataType": "INT8", "MW": 64, "MH": 64, "accBits": 20, "biasBits": 13, "shiftBits": 2}, 336),
    ("PSATokenMix", {"PE": 2, "SIMD": 4, "inputDataType": "INT8", "MW": 64, "MH": 64, "accBits": 20, "biasBits": 13, "shiftBits": 2}, 401),
    ("PSATokenMix", {"PE": 4, "SIMD": 8, "inputDataType": "INT8", "MW": 64, "MH": 64, "accBits": 20, "biasBits": 13, "shiftBits": 2}, 923),
])  # fmt: skip
def test_luts_are_within_a_third_of_what_yosys_made_for_ultrascale(finn, op: str, attributes: dict, synthesised: int) -> None:
    """yosys 0.70, synth_xilinx -family xcup, 96 channels, 64 tokens: LUT1 to LUT6, and eight for each RAM32M16."""
    from tests.ops.finn.nodes import PART, finn_op

    found = finn_op(op, constants=3, NumChannels=96, numInputVectors=[1, 64, 1], **attributes).lut_estimation(PART)
    assert abs(found - synthesised) <= synthesised / 3
