"""Fork -> DuplicateStreams."""

import numpy as np

from passes.finn.fork_to_duplicate_streams import ForkToDuplicateStreams
from tests.passes.finn.graphs import annotated, assert_equal_in_finn
from tests.passes.graphs import assert_untouched, attributes, node


def test_both_copies_are_equal_in_finn(finn) -> None:
    text = "g (uint8[N,4,3] x) => (uint8[N,4,3] a, uint8[N,4,3] b) { [x_fork] a, b = psaflow.hw.Fork (x) }"
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    after = assert_equal_in_finn(annotated(text), ForkToDuplicateStreams(), x=x)
    assert attributes(node(after, "DuplicateStreams")) == {
        "backend": "fpgadataflow", "NumChannels": 3, "PE": 1, "NumOutputStreams": 2, "inputDataType": "UINT8", "numInputVectors": [1, 4, 1],
        "outFIFODepths": [2, 2],
    }  # fmt: skip


def test_other_nodes_are_left_alone() -> None:
    assert_untouched(annotated("g (int8[N,5] a) => (int8[N,5] y) { y = Identity (a) }"), ForkToDuplicateStreams())
