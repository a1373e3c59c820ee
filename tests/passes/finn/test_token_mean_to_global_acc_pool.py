"""TokenMean -> GlobalAccPool and PSARequant."""

import numpy as np
import pytest

from passes.finn.token_mean_to_global_acc_pool import TokenMeanToGlobalAccPool
from tests.passes.finn.graphs import annotated, assert_equal_in_finn, datatypes
from tests.passes.graphs import assert_untouched, attributes, node


@pytest.mark.parametrize(("tokens", "shift", "total"), [(4, 2, "INT10"), (6, 1, "INT11"), (1, 0, "INT8")])
@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP"])
def test_the_mean_is_equal_in_finn(finn, tokens: int, shift: int, total: str, rounding: str) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (30, tokens, 3)).astype(np.int8)
    x[0], x[1] = -128, 127
    text = f"""g (int8[N,{tokens},3] x) => (int8[N,1,3] y)
        {{ [mean] y = psaflow.hw.TokenMean <shift = {shift}, rounding = "{rounding}", lo = -100> (x) }}"""
    after = assert_equal_in_finn(annotated(text), TokenMeanToGlobalAccPool(), x=x)
    pool = node(after, "GlobalAccPool")
    assert attributes(pool)["numInputVectors"] == [1, tokens, 1]
    assert datatypes(after)[pool.output[0]] == total
    assert attributes(node(after, "PSARequant"))["numInputVectors"] == [1, 1, 1]


def test_the_type_of_the_sum_is_the_one_that_finn_derives(finn) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_datatypes import InferDataTypes

    text = "g (int8[N,5,3] x) => (int8[N,1,3] y) { y = psaflow.hw.TokenMean <shift = 2> (x) }"
    after = assert_equal_in_finn(annotated(text), TokenMeanToGlobalAccPool(), x=np.zeros((1, 5, 3), np.int8))
    assert datatypes(ModelWrapper(after).transform(InferDataTypes()).model) == datatypes(after)


def test_other_nodes_are_left_alone() -> None:
    assert_untouched(annotated("g (int8[N,5] a) => (int8[N,5] y) { y = Identity (a) }"), TokenMeanToGlobalAccPool())
