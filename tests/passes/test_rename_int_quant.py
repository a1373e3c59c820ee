"""IntQuant is Quant."""

import numpy as np
import pytest

from passes.rename_int_quant import RenameIntQuant
from tests.passes.graphs import apply, assert_equal_values, assert_same, assert_untouched, parse

ATTRIBUTES = '<signed: int = 1, narrow: int = 0, rounding_mode: string = "ROUND">'


def quant(name: str) -> str:
    return f"""
        g (float[N,2] x) => (float[N,2] y) <float s = {{0.5}}, float z = {{0}}, float n = {{4}}>
        {{ y = {name} {ATTRIBUTES} (x, s, z, n) }}"""


@pytest.mark.parametrize("name", ["qonnx.custom_op.general.IntQuant"])
def test_the_newer_name_becomes_the_older(name: str) -> None:
    before = parse(quant(name))
    after = apply(before, RenameIntQuant())
    assert_same(after, quant("qonnx.custom_op.general.Quant"))
    assert_equal_values(before, after, x=np.linspace(-9, 9, 200, dtype=np.float32).reshape(-1, 2))


@pytest.mark.parametrize("name", ["qonnx.custom_op.general.Quant"])
def test_the_older_name_stays(name: str) -> None:
    assert_untouched(parse(quant(name)), RenameIntQuant())
