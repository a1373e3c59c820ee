"""PSATokenMix in hardware."""

import numpy as np
import pytest

from tests.accel.finn.conftest import Check

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(("pe", "simd", "rounding"), [(1, 1, "HALF_UP"), (2, 4, "HALF_EVEN")])
def test_an_image_is_equal_in_simulation(check: Check, pe: int, simd: int, rounding: str) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-128, 128, (4, 8)).astype(np.int8)
    bias, shift = rng.integers(-2000, 2000, 4).astype(np.int32), np.array([8, 9, 8, 10], np.int32)
    x = rng.integers(-128, 128, (8, 6))
    x[0] = [-128, 127, 0, -1, 64, -64]
    check("PSATokenMix", [weight, bias, shift], x, NumChannels=6, PE=pe, SIMD=simd, MW=8, MH=4, inputDataType="INT8",
          numInputVectors=[1, 8, 1], rounding=rounding, accBits=20, biasBits=12, shiftBits=2)  # fmt: skip
