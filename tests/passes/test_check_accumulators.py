"""The proof that every accumulator stays below 2**24, or 2**31 in a graph that never was float; on both sides of the limits."""

import numpy as np
import pytest
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from passes.check_accumulators import CheckAccumulators, accumulator_bound
from passes.graph import Graph, set_metadata
from passes.logits_to_integer import SCALE
from tests.passes.graphs import apply, listing, node, parse, refusal

REQUANT = "psaflow.Requant <axis = {axis}, lo = -128, hi = 127>"


def linear(bias: str, *, weight: str = "int8[2,3] w = {127, -3, 0, -128, 5, 0}", side: str = "right", bias_by: str = "Requant") -> str:
    """x int8 [N, 1, 2] against W [2, 3], or W [3, 2] from the left, its bias in a Requant or an Add."""
    product, axis, head, shape = "MatMulInteger (x, w)", -1, "[N,1,2]", "[N,1,3]"
    if side == "left":
        product, axis, head, shape = "MatMulInteger (w, x)", -2, "[N,2,1]", "[N,3,1]"
        weight = "int8[3,2] w = {127, -128, -3, 5, 0, 0}"
    if bias_by != "Requant":
        bias = bias.replace("[3]", "[3,1]") if side == "left" else bias
        return f"g (int8{head} x) => (int32{shape} y) <{weight}, {bias}> {{ [fc] a = {product} y = {bias_by} }}"
    return f"""
        g (int8{head} x) => (int8{shape} y) <{weight}, {bias}, int32[1] one = {{1}}, int32[1] shift = {{8}}>
        {{ [fc] a = {product}
           y = {REQUANT.format(axis=axis)} (a, one, b, shift) }}"""


FIRST = (127 + 128) * 128  # the largest magnitude that the weights of channel 0 give


def model(bias: str, *, was_float: bool, **options: str) -> ModelProto:
    """A graph lowered from float notes what its logits are worth."""
    parsed = parse(linear(bias, **options))
    if was_float:
        set_metadata(parsed, SCALE, "0.5")
    return parsed


@pytest.mark.parametrize("bias_by", ["Requant", "Add (a, b)", "Add (b, a)"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("was_float", "bits"), [(True, 24), (False, 31)])
def test_the_limit_is_exact(was_float: bool, bits: int, side: str, bias_by: str, sign: int) -> None:
    largest = 2**bits - 1 - FIRST
    fits = model(f"int32[3] b = {{{sign * largest}, 0, 0}}", was_float=was_float, side=side, bias_by=bias_by)
    assert listing(apply(fits, CheckAccumulators())) == listing(fits)
    too_large = model(f"int32[3] b = {{{sign * (largest + 1)}, 0, 0}}", was_float=was_float, side=side, bias_by=bias_by)
    message = refusal(too_large, CheckAccumulators())
    for word in ("fc:", "channel 0", str(2**bits), f"2**{bits}"):
        assert word in message


def test_the_channel_that_fails_is_named() -> None:
    message = refusal(model(f"int32[3] b = {{0, 1, {-(2**24)}}}", was_float=True), CheckAccumulators())
    assert "fc: channel 2" in message


def test_the_width_of_each_accumulator_is_noted() -> None:
    model = apply(parse(linear("int32[3] b = {0, 0, 0}")), CheckAccumulators())
    assert FIRST == 32640  # 15 bits and a sign
    assert ModelWrapper(model).get_tensor_datatype("a").name == "INT16"
    wider = apply(parse(linear("int32[3] b = {128, 0, 0}")), CheckAccumulators())
    assert ModelWrapper(wider).get_tensor_datatype("a").name == "INT17"


@pytest.mark.parametrize("seed", range(4))
def test_no_input_exceeds_the_bound_and_one_reaches_it_but_for_the_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = rng.integers(-127, 128, (2, 3)), rng.integers(-500, 500, 3)
    model = parse(linear(f"int32[3] b = {{{', '.join(map(str, bias))}}}",
                         weight=f"int8[2,3] w = {{{', '.join(map(str, weight.ravel()))}}}"))  # fmt: skip
    bound = accumulator_bound(Graph(ModelWrapper(model)), node(model, "MatMulInteger"))
    codes = np.array([-128, 127])
    corners = np.array(np.meshgrid(codes, codes)).reshape(2, -1).T @ weight + bias
    assert (np.abs(corners) <= bound).all()
    assert (bound - np.abs(corners).max(0) <= np.abs(weight).sum(0) + 2 * np.abs(bias)).all()


def test_a_product_of_two_activations_is_refused() -> None:
    message = refusal(
        parse("""
        g (int8[N,2,2] x, int8[N,2,2] v) => (int32[N,2,2] y)
        { [attention] y = MatMulInteger (x, v) }"""),
        CheckAccumulators(),
    )
    assert "attention" in message and "two activations" in message


def test_a_graph_without_linear_layers_passes() -> None:
    model = parse("g (int8[N,2] x) => (int8[N,2] y) { y = Identity (x) }")
    assert listing(apply(model, CheckAccumulators())) == listing(model)
