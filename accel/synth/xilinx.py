"""Yosys for AMD UltraScale+ (`synth_xilinx -family xcup`): what a design costs there, as the sum of its modules. No bitstream."""

import re
from collections.abc import Mapping

from accel.synth.netlist import Cells, Flow

# LUTs of one cell: logic by input count, distributed RAM by the LUTs that hold its bits, shift registers in one each.
_LUTS = {f"LUT{inputs}": 1 for inputs in range(1, 7)} | {"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}
_LUTS |= {"RAM16X1S": 1, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8}
_LUTS |= {"RAM16X1D": 2, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8}
_LUTS |= {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8}


def count(counts: Mapping[str, int]) -> Cells:
    """{cell type: how many} -> LUT6, flip-flops, DSP48E2, RAMB18 (a RAMB36 is two)."""
    brams = sum(n * (2 if kind.startswith("RAMB36") else 1) for kind, n in counts.items() if re.match("RAMB(18|36)", kind))
    return Cells(
        lut=sum(n * _LUTS.get(kind, 0) for kind, n in counts.items()),
        ff=sum(n for kind, n in counts.items() if kind in ("FDRE", "FDSE", "FDCE", "FDPE")),
        dsp=counts.get("DSP48E2", 0),
        bram=brams,
    )


XCUP = Flow("xcup", "synth_xilinx -family xcup -noiopad -flatten", count)
