"""Datatypes are as narrow as the numbers allow, and no narrower."""

import numpy as np
import pytest
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper

from passes.minimize_widths import MinimizeWidths
from tests.passes.graphs import apply, every_code, every_pair, parse, run

REQUANT = "psaflow.Requant <axis = -1, rounding = \"HALF_EVEN\", lo = {}, hi = {}> (x, one, none, none)"
CONSTANTS = "<int32 one = {1}, int32 none = {0}, int8[2,2] w = {3, -7, 1, 4}, int8[2,2] u = {1, 0, 1, 1}, int32[2] b = {-100, 5}, int8 low = {-8}, int8 high = {7}>"


def datatypes(nodes: str, out: str = "int32[N,2] y") -> dict[str, str]:
    wrapper = ModelWrapper(apply(parse(f"g (int8[N,2] x) => ({out}) {CONSTANTS} {{ {nodes} }}"), MinimizeWidths()))
    return {t: d.name for t in ("m", "y", "w", "u", "c") if (d := wrapper.get_tensor_datatype(t)).name != "FLOAT32"}


@pytest.mark.parametrize(("nodes", "expected"), [
    ("y = MatMulInteger (x, w)", {"y": "INT12", "w": "INT4"}),  # 11 * 128 = 1408
    ("y = MatMulInteger (x, u)", {"y": "INT9", "u": "INT2"}),  # -256..254
    (f"m = {REQUANT.format(0, 15)} y = MatMulInteger (m, w)", {"m": "UINT4", "y": "INT8", "w": "INT4"}),  # -105..60
    (f"m = {REQUANT.format(-2, 1)} y = MatMulInteger (m, w)", {"m": "INT2", "y": "INT6", "w": "INT4"}),  # -15..22
    (f"m = {REQUANT.format(0, 127)} y = MatMulInteger (m, u)", {"y": "UINT8", "u": "INT2"}),  # a byte stays a byte
    ("c = Clip (x, low, high) y = MatMulInteger (c, w)", {"c": "INT4", "y": "INT8", "w": "INT4"}),  # -85..88
    ("m = MatMulInteger (x, w) y = Add (m, b)", {"m": "INT12", "y": "INT12", "w": "INT4"}),
    ("c = Cast <to = 6> (x) y = Add (c, c)", {"c": "INT8", "y": "INT9"}),
])  # fmt: skip
def test_widths(nodes: str, expected: dict[str, str]) -> None:
    assert datatypes(nodes) == expected


@pytest.mark.parametrize("seed", range(8))
def test_every_value_of_an_accumulator_fits_and_the_extreme_ones_need_the_width(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-(2 ** (seed % 7 + 1)), 2 ** (seed % 7 + 1), (2, 3))
    text = f"g (int8[N,2] x) => (int32[N,3] y) <int8[2,3] w = {{{', '.join(map(str, weights.ravel().tolist()))}}}> {{ y = MatMulInteger (x, w) }}"
    model = apply(parse(text), MinimizeWidths())
    datatype = ModelWrapper(model).get_tensor_datatype("y")
    values = run(model, x=np.stack(every_pair(), -1))[0]
    assert datatype.min() <= values.min() and values.max() <= datatype.max()
    narrower = DataType[f"{'' if datatype.signed() else 'U'}INT{datatype.bitwidth() - 1}"]
    assert values.min() < narrower.min() or values.max() > narrower.max()


def test_values_do_not_change() -> None:
    model = parse(f"g (int8[N,2] x) => (int32[N,2] y) {CONSTANTS} {{ y = MatMulInteger (x, w) }}")
    assert (run(model, x=every_code(2))[0] == run(apply(model, MinimizeWidths()), x=every_code(2))[0]).all()
