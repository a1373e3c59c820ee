"""PSALUT in hardware."""

import numpy as np
import pytest

from tests.accel.finn.conftest import Check

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(("kind", "lowest", "pe"), [("INT8", -128, 3), ("UINT8", 0, 1)])
def test_every_code_of_every_channel_is_equal_in_simulation(check: Check, kind: str, lowest: int, pe: int) -> None:
    table = np.random.default_rng(0).integers(-128, 128, (6, 256)).astype(np.int8)
    codes = np.repeat(np.arange(lowest, lowest + 256)[:, None], 6, 1)
    check("PSALUT", [table], codes, NumChannels=6, PE=pe, inputDataType=kind, numInputVectors=[1, 256, 1])
