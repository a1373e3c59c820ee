"""The classifier's accumulator as the output, its scale as metadata."""

import numpy as np
import pytest
from onnx import TensorProto

from passes.graph import get_metadata
from passes.logits_to_integer import SCALE, LogitsToInteger
from passes.scaling import errors_of
from tests.passes.graphs import apply, assert_same, assert_untouched, assert_within_bounds, every_pair, parse, refusal, run


def classifier(*, weight: str = "int8[2,3] w = {127, -3, 1, -127, 5, 2}", weight_scale: str = "float ws = {0.5}", axis: int = 1,
               bias: str = "int32[3] b = {-700, 12, 33}", bias_scale: str = "float bs = {0.125}",
               body: str = "p = MatMul (x, wd) [head_add] y = Add (p, bd)", output: str = "float[N,3] y") -> str:  # fmt: skip
    return f"""
        g (int8[N,2] q) => ({output}) <float xs = {{0.25}}, int8 z = {{0}}, {weight}, {weight_scale}, {bias}, {bias_scale}>
        {{ x = DequantizeLinear (q, xs, z)
           wd = DequantizeLinear <axis = {axis}> (w, ws)
           bd = DequantizeLinear (b, bs)
           {body} }}"""


def rows() -> np.ndarray:
    return np.stack(every_pair(), -1)


def test_the_logits_become_the_accumulator() -> None:
    before = parse(classifier())
    after = apply(before, LogitsToInteger())
    assert_same(
        after,
        """
        g (int8[N,2] q) => (int32[N,3] y) <int8[2,3] w = {127, -3, 1, -127, 5, 2}, int32[3] b = {-700, 12, 33}>
        { m = MatMulInteger (q, w)
          y = Add (m, b) }""",
    )
    assert after.graph.output[0].type.tensor_type.elem_type == TensorProto.INT32
    assert float(get_metadata(after, SCALE)) == 0.125
    (expected,), (actual,) = run(before, q=rows()), run(after, q=rows())
    assert actual.dtype == np.int32
    assert (actual * 0.125 == expected).all()


def test_without_a_bias_zero_is_added() -> None:
    before = parse(classifier(body="[head_matmul] y = MatMul (x, wd)"))
    after = apply(before, LogitsToInteger())
    assert_same(
        after,
        """
        g (int8[N,2] q) => (int32[N,3] y) <int8[2,3] w = {127, -3, 1, -127, 5, 2}, int32[3] b = {0, 0, 0}>
        { m = MatMulInteger (q, w)
          y = Add (m, b) }""",
    )
    assert (run(after, q=rows())[0] * 0.125 == run(before, q=rows())[0]).all()


def test_equal_scales_per_class_are_one_scale() -> None:
    after = apply(parse(classifier(weight_scale="float[3] ws = {0.5, 0.5, 0.5}")), LogitsToInteger())
    assert float(get_metadata(after, SCALE)) == 0.125


def test_a_linear_layer_that_is_no_output_is_left_alone() -> None:
    assert_untouched(parse(classifier(body="p = MatMul (x, wd) a = Add (p, bd) y = Sigmoid (a)")), LogitsToInteger())


BIASES = {
    "quantized elsewhere": classifier(bias_scale="float bs = {0.0031}"),
    "float": classifier().replace("bd = DequantizeLinear (b, bs)", "").replace("int32[3] b = {-700, 12, 33}", "float[3] bd = {-0.7, 0.12, 3.3}"),
    "float, scales of any kind": classifier(weight_scale="float ws = {0.037}").replace("bd = DequantizeLinear (b, bs)", "").replace(
        "int32[3] b = {-700, 12, 33}", "float[3] bd = {-0.7, 0.12, 3.3}"),
    "zero point": classifier(weight_scale="float ws = {0.037}", bias_scale="float bs = {0.01}").replace(
        "DequantizeLinear (q, xs, z)", "DequantizeLinear (q, xs, three)").replace("int8 z = {0}", "int8 z = {0}, int8 three = {3}"),
    "gain": classifier(body="p = MatMul (x, wd) a = Add (p, bd) y = Mul (a, bs)"),
}  # fmt: skip


@pytest.mark.parametrize("text", BIASES.values(), ids=BIASES)
def test_other_biases_are_off_by_no_more_than_is_noted(text: str) -> None:
    before = parse(text)
    after = apply(before, LogitsToInteger())
    if errors_of(after):
        assert_within_bounds(before, after, rows())
    scale = float(get_metadata(after, SCALE))
    (expected,), (actual,) = run(before, q=rows()), run(after, q=rows())
    assert np.abs(actual * scale - expected).max() <= np.abs(expected).max() * 2.0**-18


def test_a_classifier_with_float_weights_is_left_alone() -> None:
    text = classifier().replace("wd = DequantizeLinear <axis = 1> (w, ws)", "").replace("int8[2,3] w", "float[2,3] wd")
    assert_untouched(parse(text), LogitsToInteger())


LEFT = classifier(weight="int8[3,2] w = {1, 2, 3, 4, 5, 6}", body="t = Transpose <perm = [1, 0]> (x) [head_matmul] y = MatMul (wd, u)",
                  output="float[3,N] y").replace("x = DequantizeLinear (q, xs, z)", "").replace("t = Transpose <perm = [1, 0]> (x)",
                  "t = Transpose <perm = [1, 0]> (q) u = DequantizeLinear (t, xs, z)")  # fmt: skip
REFUSALS = {
    "scales per class": (classifier(weight_scale="float[3] ws = {0.5, 1, 0.5}"), ("head_add", "2 weight scales", "quantize it per tensor")),
    "weights on the left": (LEFT, ("head_matmul", "on the right")),
    "scales along the inputs": (classifier(weight_scale="float[2] ws = {0.5, 1}", axis=0), ("head_add", "axis 0", "axis 1")),
    "a clip at the end": (classifier(body="p = MatMul (x, wd) a = Add (p, bd) [last] y = Relu (a)"), ("last", "clipped behind the classifier")),
    "a negative gain": (classifier(body="p = MatMul (x, wd) [last] y = Mul (p, m)").replace("int8 z = {0}", "int8 z = {0}, float m = {-1}"),
                        ("last", "weight scales")),
    "a bias beyond int32": (classifier(bias="int32[3] b = {-700, 12, 2000000000}", bias_scale="float bs = {10}"), ("head_add", "beyond int32")),
    "bias per row": (classifier(bias="int32[3,1] b = {1, 2, 3}", output="float[3,3] y").replace("int8[N,2] q", "int8[3,2] q"),
                     ("head_add", "a bias of shape [3, 1]", "[3]")),
    "wide weights": (classifier(weight="int32[2,3] w = {1, 2, 300, 4, 5, 6}"), ("head_add", "weights 1..300", "int8")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_it_refuses(text: str, words: tuple[str, ...]) -> None:
    message = refusal(parse(text), LogitsToInteger())
    for word in words:
        assert word in message
