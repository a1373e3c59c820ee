"""Patches: raster order to patches; the first node of the accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from custom_ops.hw.cost import Part, output
from custom_ops.hw.node import FoldingError, HwNode, Memory, Site, StreamOp
from custom_ops.hw.timing import BUFFER, OUT, Times, in_order, last_of, places
from custom_ops.op import INT8, UINT8

READ = 2  # cycles of the buffer's read


def patches(x, patch=4):
    """x int8|uint8 [N, H, W, F] -> [N, (H/p)*(W/p), p*p*F] of x's type.

    Patches row by row; inside a patch pixels row by row, colours innermost.
    """
    n, height, width, features = x.shape
    tiles = x.reshape(n, height // patch, patch, width // patch, patch, features).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(n, (height // patch) * (width // patch), patch * patch * features)



@dataclass(frozen=True)
class PatchesTiming:
    """A beat is read from the cycle after it came, one a cycle in the order of the patches; left[i] = read[i] + 4.

    Of bands of `lines` lines of `columns` patches, each `segment` beats wide. A band is taken once the one before the last is read.
    """

    lines: int
    columns: int
    segment: int
    reach: ClassVar = BUFFER

    def schedule(self, taken: Sequence[Times], left: Sequence[Times] | None = None) -> list[Times]:
        return [self._read(taken[0], None if left is None else left[0]) + READ + OUT]

    def room(self, taken: Sequence[Times], left: Sequence[Times]) -> list[Times]:
        band = self.lines * self.columns * self.segment
        return [np.repeat(places(last_of(self._read(taken[0], left[0]), band), 2), band)]

    def _read(self, taken: Times, left: Times | None) -> Times:
        bands = taken.reshape(-1, self.lines, self.columns, self.segment)
        ready = bands.transpose(0, 2, 1, 3).ravel() + 1
        return in_order(ready if left is None else np.maximum(ready, places(left, BUFFER)))


class Patches(StreamOp):
    """The body is SpaceToDepth, whose depth order is ours; in float32, as onnxruntime has it not in int8."""

    types: ClassVar = {"x": (INT8, UINT8)}
    attributes: ClassVar = {"patch": 4}
    reference = staticmethod(patches)
    body = """
  planes = Transpose <perm = [0, 3, 1, 2]> (x)
  planes_f = Cast <to = 1> (planes)
  deep = SpaceToDepth <blocksize: int = @patch> (planes_f)
  shape = Constant <value_ints = [0, 0, -1]> ()
  rows = Reshape (deep, shape)
  tokens = Transpose <perm = [0, 2, 1]> (rows)
  y = CastLike (tokens, x)
"""

    def plan(self, site: Site) -> HwNode:
        """Two buffers of one row of patches; lanes run along a patch's row, contiguous in both orders."""
        height, width, features = site.shape(rank=4)
        patch = site.attribute("patch")
        if patch < 1 or height % patch or width % patch:
            raise FoldingError(f"{site.label}: patch={patch} must divide {height} x {width} pixels")
        pe = site.fold("PE", patch * features, "bytes in a patch's row")
        beats = height * width * features // pe
        memory = Memory("buffer", 2 * patch * width * features // pe, 8 * pe, rom=False)
        tokens = height * width // patch**2
        return site.build(
            [(1, height, width * features // pe, pe)],
            [site.folded((tokens, patch * patch * features), pe)],
            cycles=beats,
            memories=[memory],
            parts=[
                Part("counter", 1, (memory.depth,)),
                *(Part("counter", 1, (n,)) for n in (patch * features // pe, patch, width // patch)),
                Part("choice", 1, (memory.depth.bit_length(),)),
                Part("adder", 2, (memory.depth.bit_length(),)),
                output(pe, beats),
            ],
            timing=PatchesTiming(patch, width // patch, patch * features // pe),
        )
