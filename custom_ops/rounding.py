"""Division by a power of two, rounded as the attribute `rounding` says; rounding is written here only.

HALF_EVEN: ties go to the even integer (torch.round, numpy.rint, ONNX Round, QONNX ROUND).
HALF_UP: floor(v + 1/2) (not QONNX's HALF_UP, which rounds ties away from zero).
"""

from __future__ import annotations

import numpy as np

ROUNDINGS = ("HALF_EVEN", "HALF_UP")

# ONNX text: y = round(v) for float or double v; {v} and {y} are tensor names, {half} is 0.5 of v's type.
# Opset 18 cannot compare strings, so the mode is found by counting: the set {rounding, "HALF_UP"} has one
# member or two. onnxruntime folds the count when it loads the model, and the branch with it.
ROUND_BODY = """
  rounding = Constant <value_string: string = @rounding> ()
  rounding_length = Constant <value_ints = [1]> ()
  rounding_asked = Reshape (rounding, rounding_length)
  rounding_half_up = Constant <value_strings = ["HALF_UP"]> ()
  rounding_both = Concat <axis = 0> (rounding_asked, rounding_half_up)
  rounding_distinct = Unique (rounding_both)
  rounding_count = Size (rounding_distinct)
  rounding_one = Constant <value_int = 1> ()
  rounding_is_half_up = Equal (rounding_count, rounding_one)
  {y} = If (rounding_is_half_up) <
    then_branch = half_up () => (up) {{
      half = Constant <value = {half}> ()
      shifted = Add ({v}, half)
      up = Floor (shifted)
    }},
    else_branch = half_even () => (even) {{ even = Round ({v}) }}
  >
"""


def shift_right(value: np.ndarray, shift: np.ndarray | int, rounding: str) -> np.ndarray:
    """value int64 [...], shift 0..62 (broadcasts) -> int64: round(value / 2**shift)."""
    value = np.asarray(value, np.int64)
    shift = np.asarray(shift, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    if rounding == "HALF_UP":
        return (value + half) >> shift
    if rounding == "HALF_EVEN":
        odd = (value >> shift) & 1
        return np.where(shift > 0, (value + half - 1 + odd) >> shift, value)
    raise ValueError(f"rounding={rounding} must be {' or '.join(ROUNDINGS)}")
