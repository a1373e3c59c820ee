"""Patches -> OuterShuffle."""

import numpy as np
import pytest

from passes.finn.patches_to_outer_shuffle import PatchesToOuterShuffle
from tests.passes.finn.graphs import annotated, assert_equal_in_finn
from tests.passes.graphs import assert_untouched, attributes, node


@pytest.mark.parametrize(("height", "width", "features", "patch", "kind"), [(32, 32, 3, 4, "int8"), (4, 6, 2, 2, "uint8"), (6, 3, 1, 3, "int8")])
def test_every_byte_goes_to_the_same_place_in_finn(finn, height: int, width: int, features: int, patch: int, kind: str) -> None:
    from finn.transformation.fpgadataflow.transpose_decomposition import shuffle_perfect_loopnest_coeffs

    tokens, row = height * width // patch**2, patch * patch * features
    text = f"""g ({kind}[N,{height},{width},{features}] x) => ({kind}[N,{tokens},{row}] y)
        {{ y = psaflow.hw.Patches <patch = {patch}> (x) }}"""
    low = np.iinfo(kind).min
    x = np.random.default_rng(0).integers(low, low + 256, (2, height, width, features)).astype(kind)
    found = attributes(node(assert_equal_in_finn(annotated(text), PatchesToOuterShuffle(), x=x), "OuterShuffle"))
    assert found["data_type"] == kind.upper()
    assert found["out_shape"] == [1, tokens, 1, row]
    assert found["loop_coeffs"] == list(shuffle_perfect_loopnest_coeffs(shape=found["transpose_in_shape"], perm=found["perm"]))


def test_other_nodes_are_left_alone() -> None:
    assert_untouched(annotated("g (int8[N,5] a) => (int8[N,5] y) { y = Identity (a) }"), PatchesToOuterShuffle())
