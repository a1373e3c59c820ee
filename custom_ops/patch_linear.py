"""PatchLinear: pixels through a table per colour, cut into patches, through a linear layer: a network's first layer."""

from __future__ import annotations

from typing import ClassVar

from custom_ops.channel_lut import channel_lut
from custom_ops.hw.patches import patches
from custom_ops.layer import PARAMETERS, TYPES, Layer
from custom_ops.linear import linear, linear_body
from custom_ops.op import UINT8, OpError
from custom_ops.rounding import ROUNDINGS


def patch_linear(x, table, weight, mult, bias, shift, table_out=None, *, patch=4, rounding="HALF_EVEN", lo=-128, hi=127):
    """x uint8 [N, H, W, F], table int8 [F, 256], weight int8 [p*p*F, M] -> int8 [N, (H/p)*(W/p), M]:

    linear(patches(table(x))); mult, bias, shift int32, each [], [1] or [M]; optional table_out int8 [M, 256].
    """
    tokens = patches(channel_lut(x, table, lowest=0), patch)
    return linear(tokens, weight, mult, bias, shift, table_out=table_out, rounding=rounding, lo=lo, hi=hi)


def patch_linear_body(given: tuple[str, ...]) -> str:
    """ONNX text of the op, with a table at its end or without.

    Patches are cut as in hw.Patches, by SpaceToDepth in float32; but Reshape is given every dimension, as onnxruntime
    can infer none of an empty batch. So ONNX's shape inference needs data propagation to know the result's.
    """
    inner = linear_body(given).replace("codes = Identity (x)", "codes = Identity (tokens_8)")
    return f"""
  pixel_codes = psaflow.ChannelLUT <lowest = 0> (x, table)
  planes = Transpose <perm = [0, 3, 1, 2]> (pixel_codes)
  planes_f = Cast <to = 1> (planes)
  deep = SpaceToDepth <blocksize: int = @patch> (planes_f)
  outer = Shape <start = 0, end = 2> (deep)
  down = Shape <start = 2, end = 3> (deep)
  across = Shape <start = 3, end = 4> (deep)
  per_image = Mul (down, across)
  all = Concat <axis = 0> (outer, per_image)
  rows = Reshape <allowzero = 1> (deep, all)
  tokens_f = Transpose <perm = [0, 2, 1]> (rows)
  tokens_8 = Cast <to = 3> (tokens_f)
{inner}"""


class PatchLinear(Layer):
    """ChannelLUT, the change of layout and a Linear, as one node on the image's bytes."""

    inputs = ("x", "table", *PARAMETERS, "table_out")
    types: ClassVar = {**TYPES, "x": (UINT8,), "table": TYPES["table_out"]}
    required_inputs = 6
    attributes: ClassVar = {"patch": 4, "rounding": "HALF_EVEN", "lo": -128, "hi": 127}
    choices: ClassVar = {"rounding": ROUNDINGS}
    reference = staticmethod(patch_linear)
    body = patch_linear_body(())
    overloads: ClassVar = {"table_out": (inputs, patch_linear_body(("table_out",)))}

    def verify_node(self) -> None:
        super().verify_node()
        if self.get_nodeattr("patch") < 1:
            raise OpError(f"{self.label}: patch={self.get_nodeattr('patch')} must be at least 1 (pixels)")
