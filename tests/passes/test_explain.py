"""A rounding boundary is told from a mistake, layer by layer."""

import numpy as np
import pytest

from passes.explain import rounded_otherwise
from passes.graph import PassRefusal
from passes.matmul_to_integer import MatMulToInteger
from passes.scaling import errors_of
from tests.passes.graphs import apply, constant, node, parse

TWO_LAYERS = """
    g (float[N,3] x) => (float[N,2] y)
    <float s = {0.043}, int8 z = {0}, int8 zh = {-5}, int8[3,4] w = {12, -7, 3, 99, -50, 6, 1, -2, 44, 3, -127, 8}, float ws = {0.0137},
     int8[4,2] v = {3, -100, 27, 8, 90, -4, 5, 61}, float hs = {0.0311}, float ys = {0.0713}>
    { a = QuantizeLinear (x, s, z)
      ad = DequantizeLinear (a, s, z)
      wd = DequantizeLinear (w, ws)
      p = MatMul (ad, wd)
      h = QuantizeLinear (p, hs, zh)
      hd = DequantizeLinear (h, hs, zh)
      vd = DequantizeLinear (v, ws)
      r = MatMul (hd, vd)
      o = QuantizeLinear (r, ys, z)
      y = DequantizeLinear (o, ys, z) }"""
X = np.random.default_rng(0).normal(0, 2, (2000, 3)).astype(np.float32)


def test_what_is_within_its_bound_is_counted() -> None:
    before = parse(TWO_LAYERS)
    after = apply(before, MatMulToInteger())
    bounds = errors_of(after)
    assert set(bounds) == {"h", "o"}
    assert rounded_otherwise(before, after, bounds, X) <= 2


@pytest.mark.parametrize(("role", "change", "tensor"), [
    ("h_mult", lambda v: v + v // 1000, "h"),  # a multiplier a thousandth too large
    ("o_mult", lambda v: -v, "o"),
    ("h_bias", lambda v: v + 2**28, "h"),
    ("o_shift", lambda v: v - 1, "o"),
])  # fmt: skip
def test_a_wrong_parameter_is_named_where_it_stands(role: str, change, tensor: str) -> None:
    from onnx import numpy_helper

    before = parse(TWO_LAYERS)
    after = apply(before, MatMulToInteger())
    wrong = next(i for i in after.graph.initializer if i.name == role)
    wrong.CopyFrom(numpy_helper.from_array(change(constant(after, role)).astype(np.int32), role))
    with pytest.raises(PassRefusal, match=f"^{tensor}: .* codes from what its float layer gives"):
        rounded_otherwise(before, after, errors_of(after), X)


def test_a_quantizer_without_a_bound_must_be_equal() -> None:
    before = parse(TWO_LAYERS)
    after = apply(before, MatMulToInteger())
    quantize = node(after, "QuantizeLinear")
    quantize.input[1] = "ys"
    with pytest.raises(PassRefusal, match=r"^a: .* rounding explains 0$"):
        rounded_otherwise(before, after, errors_of(after), X)
