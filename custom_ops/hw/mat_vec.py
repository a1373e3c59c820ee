"""MatVec: a matrix times each token's channels, requantized or as the raw accumulator (FINN's MVAU)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.datatypes import accumulator_bits, accumulator_range
from custom_ops.hw.cost import Part, written_by_lanes
from custom_ops.hw.matrix import FOLDING, image_cycles, matrix_folding
from custom_ops.hw.matrix_timing import Core, MatVecTiming, read_cycles
from custom_ops.hw.node import FoldingError, HwNode, HwOp, Memory, Site, integer32
from custom_ops.op import INT8, INT32
from custom_ops.requant import check_range, requant, requant_body
from custom_ops.rounding import ROUNDINGS

ACCUMULATE = """
  columns = Transpose <perm = [1, 0]> (weight)
  product = MatMulInteger (x, columns)
  accumulator = Add (product, bias)
"""


def mat_vec(x, weight, bias, shift=None, *, rounding="HALF_EVEN", lo=-128, hi=127):
    """x int8 [N, T, K], weight int8 [M, K], bias and shift int32 [M] -> int8 [N, T, M]:

    requant(sum_k weight[m, k] * x[n, t, k] + bias[m], shift[m]); the sum is exact. No shift: the int32 sum.
    """
    accumulator = np.matmul(x.astype(np.int32), weight.T.astype(np.int32)) + bias
    return accumulator if shift is None else requant(accumulator, 1, 0, shift, rounding=rounding, lo=lo, hi=hi)


class MatVec(HwOp):
    """Two bodies: without `shift` the output is int32, and one body cannot have two output types."""

    inputs = ("x", "weight", "bias", "shift")
    types: ClassVar = {"x": (INT8,), "weight": (INT8,), "bias": (INT32,), "shift": (INT32,)}
    required_inputs = 3
    attributes: ClassVar = {"rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    folding: ClassVar = FOLDING
    reference = staticmethod(mat_vec)
    body = ACCUMULATE + requant_body("accumulator", affine=False)
    overloads: ClassVar = {"accumulator": (inputs[:3], ACCUMULATE.replace("accumulator =", "y ="))}

    @classmethod
    def overload_of(cls, node) -> str:
        return "" if len(node.input) == 4 and node.input[3] else "accumulator"

    def infer_node_datatype(self, model) -> None:
        """INT8, or INT32 without shift."""
        if self.overload_of(self.onnx_node):
            integer32(model, self.onnx_node.output[0])
        else:
            super().infer_node_datatype(model)

    def verify_node(self) -> None:
        super().verify_node()
        check_range(self)

    def plan(self, site: Site) -> HwNode:
        """PE rows and SIMD columns a cycle; a token stays for all its rows while the next one arrives."""
        tokens, columns = site.shape(rank=3)
        weight = site.initializers.get(self.onnx_node.input[1])
        rows = weight.shape[0] if weight is not None and weight.ndim == 2 else 0
        weight = site.constant(1, (rows, columns), np.int8)
        bias = site.constant(2, (rows,), np.int32)
        folding = matrix_folding(site, (rows, "rows"), (columns, "columns"), "SIMD", (columns, rows))
        requantized = not self.overload_of(self.onnx_node)
        shift = site.shift(3, rows) if requantized else None
        bits = checked_accumulator_bits(site, weight, bias)
        row_groups, column_groups = rows // folding.pe, columns // folding.simd
        memories = [
            Memory("weight", row_groups * column_groups, 8 * folding.pe * folding.simd),
            Memory("param", rows // folding.results, folding.results * site.parameter_bits(bias, shift)),
        ]
        buffered = folding.simd < folding.in_lanes or (row_groups > 1 and column_groups > 1)
        wide = max(folding.simd, folding.in_lanes)
        if buffered:
            memories.append(Memory("token", 2 * columns // wide, 8 * wide, rom=False))
        counters = [Part("counter", 1, (n,)) for n in (row_groups, column_groups, memories[0].depth, memories[1].depth)]
        priced = memories[:2]
        if buffered:
            counters += [Part("counter", 1, (n,)) for n in (2 * columns // folding.in_lanes, wide // folding.in_lanes)]
            counters += [Part("counter", 2, (2 * columns // wide,)), Part("selector", 1, (wide // folding.simd, 8 * folding.simd))]
            priced += written_by_lanes(memories[2], 8 * folding.in_lanes)
        read = read_cycles(2 * columns // wide) if buffered else 1
        core = Core(folding.pe, folding.simd, folding.out_lanes, column_groups, read, requantized)
        return site.build(
            [site.folded((tokens, columns), folding.in_lanes)],
            [site.folded((tokens, rows), folding.out_lanes)],
            cycles=tokens * image_cycles(rows * columns, columns, rows, folding),
            out_bits=8 if requantized else 32,
            memories=memories,
            accumulator_bits=bits,
            multipliers=folding.multipliers,
            parts=[*counters, *folding.parts(core, bits, shift, tokens * rows)],
            priced=priced,
            timing=MatVecTiming(core, columns // folding.in_lanes, row_groups, buffered),
        )


def checked_accumulator_bits(site: Site, weight: np.ndarray, bias: np.ndarray) -> int:
    """Bits of the sum weight [rows, columns] @ int8 + bias [rows]; FoldingError if int32 cannot hold it."""
    bits = accumulator_bits(weight, bias)
    if bits > 32:
        least, most = accumulator_range(weight, bias)
        raise FoldingError(f"{site.label}: accumulator reaches {least}..{most}, beyond int32; lower the bias")
    return bits
