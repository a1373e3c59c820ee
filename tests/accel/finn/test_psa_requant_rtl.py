"""PSARequant in hardware."""

import numpy as np
import pytest

from tests.accel.finn.conftest import Check

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(("bits", "pe", "mult", "rounding"), [
    (17, 1, 1, "HALF_EVEN"), (17, 3, 1, "HALF_UP"), (8, 2, 5, "HALF_EVEN"), (23, 6, -7, "HALF_UP"),
])  # fmt: skip
def test_streams_of_any_width_are_equal_in_simulation(check: Check, bits: int, pe: int, mult: int, rounding: str) -> None:
    rng = np.random.default_rng(bits)
    reach = 2 ** (bits - 1)
    bias, shift = rng.integers(-reach // 4, reach // 4, 6).astype(np.int32), np.full(6, bits - 5, np.int32)
    shift[:2] = [bits - 6, bits - 3]
    x = rng.integers(-reach, reach, (80, 6))
    x[:4] = np.array([[-reach], [reach - 1], [0], [-1]])
    check("PSARequant", [np.full(6, mult, np.int32), bias, shift], x, NumChannels=6, PE=pe, inputDataType=f"INT{bits}",
          numInputVectors=[1, 80, 1], rounding=rounding, lo=-110, hi=100, multBits=0 if mult == 1 else 4, biasBits=bits, shiftBits=2)  # fmt: skip
