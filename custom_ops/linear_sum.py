"""LinearSum: a fully connected layer whose exact sums are its result: a classifier's logits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from custom_ops.hw.node import integer32
from custom_ops.op import INT8, INT32, Op


def linear_sum(x, weight, bias):
    """x int8 [..., K], weight int8 [K, M], bias int32 [], [1] or [M] -> int32 [..., M]: x @ weight + bias."""
    return np.matmul(x.astype(np.int32), weight.astype(np.int32)) + np.asarray(bias)


class LinearSum(Op):
    """MatMulInteger and the Add of a bias, as one node."""

    inputs = ("x", "weight", "bias")
    types: ClassVar = {"x": (INT8,), "weight": (INT8,), "bias": (INT32,)}
    reference = staticmethod(linear_sum)
    body = """
  product = MatMulInteger (x, weight)
  y = Add (product, bias)
"""

    def infer_node_datatype(self, model) -> None:
        """INT32."""
        integer32(model, self.onnx_node.output[0])
