"""A function body for QONNX's `Quant` (also called `IntQuant`), so that plain onnxruntime runs fake-quantized graphs."""

from __future__ import annotations

import onnx
from onnx import FunctionProto, NodeProto

from custom_ops.op import OPSET, OpError

OP_TYPES = ("Quant", "IntQuant")  # two names of one op
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas")
ROUNDING_MODES = ("ROUND", "HALF_EVEN")

BODY = """
  signed = Constant <value_int: int = @signed> ()
  narrow = Constant <value_int: int = @narrow> ()
  signed_f = Cast <to = 1> (signed)
  narrow_f = Cast <to = 1> (narrow)
  one = Constant <value = float {1.0}> ()
  two = Constant <value = float {2.0}> ()
  bits = Cast <to = 1> (bitwidth)
  magnitude_bits = Sub (bits, signed_f)
  magnitude = Pow (two, magnitude_bits)
  most = Sub (magnitude, one)
  unsigned_f = Sub (one, signed_f)
  dropped_top = Mul (narrow_f, unsigned_f)
  top = Sub (most, dropped_top)
  least = Sub (narrow_f, magnitude)
  bottom = Mul (least, signed_f)
  scaled = Div (x, scale)
  v = Add (scaled, zeropt)
  below = Min (v, top)
  clipped = Max (below, bottom)
  rounded = Round (clipped)
  code = Sub (rounded, zeropt)
  y = Mul (code, scale)
"""


def quant_function(domain: str = DOMAINS[0], opset: int = OPSET, op_type: str = OP_TYPES[0]) -> FunctionProto:
    """Quant's body: y = (round(clip(x / scale + zeropt, bottom, top)) - zeropt) * scale, ties to even."""
    return onnx.parser.parse_function(
        f'<domain: "{domain}", opset_import: ["" : {opset}]> {op_type}'
        ' <signed: int = 1, narrow: int = 1, rounding_mode: string = "ROUND">'
        f" (x, scale, zeropt, bitwidth) => (y) {{ {BODY} }}"
    )


def check_quant(node: NodeProto, bits: float | None = None) -> None:
    """Raises OpError for a rounding mode, or a width of `bits` if known, that the body does not compute."""
    label = f"{node.op_type} {node.name or node.output[0]}"
    values = {attribute.name: attribute for attribute in node.attribute}
    if "rounding_mode" in values:
        mode = values["rounding_mode"].s.decode()
        if mode.upper() not in ROUNDING_MODES:
            raise OpError(f"{label}: rounding_mode={mode} is refused; use {' or '.join(ROUNDING_MODES)}")
    for name in ("signed", "narrow"):
        if name in values and values[name].i not in (0, 1):
            raise OpError(f"{label}: {name}={values[name].i} must be 0 or 1")
    signed = values["signed"].i if "signed" in values else 1
    if bits == 1 and signed:
        raise OpError(f"{label}: signed with 1 bit is bipolar in QONNX, not a range; use BipolarQuant")
