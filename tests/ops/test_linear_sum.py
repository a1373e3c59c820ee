"""LinearSum: reference, body and kernel on every instruction set give the same integers; the kernel refuses what does not fit."""

import numpy as np
import pytest
from onnx import TensorProto

from custom_ops import LinearSum
from custom_ops.kernels import KernelError, library

from .faces import assert_faces_agree, inferred, int8, int32
from .layer_cases import MORE_SHAPES, LayerCase, assert_every_way_agrees, other_lead, refusal_at


def case(lead: tuple[int, ...], inputs: int, outputs: int, seed: int = 0) -> LayerCase:
    rng = np.random.default_rng(seed)
    bias = int32(rng, -(2**30), 2**30, *((outputs,) if seed % 2 else (1,)))
    operands = {"x": int8(rng, *lead, inputs), "weight": int8(rng, inputs, outputs), "bias": bias}
    return LayerCase(LinearSum, operands, {}, [{"x": int8(rng, *other_lead(rng, lead), inputs)} for _ in range(MORE_SHAPES)])


@pytest.mark.parametrize("lead", [(), (0,), (1,), (65,), (2, 3)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (96, 10), (17, 3), (130, 33)])
def test_every_way_gives_the_same_integers(lead, inputs, outputs, monkeypatch):
    assert_every_way_agrees(case(lead, inputs, outputs, seed=inputs + len(lead)), monkeypatch)


def test_a_batch_that_several_threads_share(monkeypatch):
    assert_every_way_agrees(case((3000,), 96, 10), monkeypatch)


def test_sums_at_their_limits(monkeypatch):
    """65,536 products of -128 by -128 are 2**30; the bias brings the sum to int32's end."""
    for weight, end in ((-128, 2**31 - 1), (127, -(2**31))):
        bias = np.array([end - 65536 * -128 * weight], np.int64).astype(np.int32)
        operands = {"x": np.full((2, 65536), -128, np.int8), "weight": np.full((65536, 3), weight, np.int8), "bias": bias}
        limits = LayerCase(LinearSum, operands)
        assert (limits.expected() == end).all()
        assert_every_way_agrees(limits, monkeypatch, threads=(1,))


def test_qonnx_and_shape_inference_know_it():
    rng = np.random.default_rng(3)
    arrays = (int8(rng, 2, 6), int8(rng, 6, 4), int32(rng, -9, 9, 4))
    assert_faces_agree(LinearSum, *arrays)
    assert inferred(LinearSum, *arrays) == [(["N", 4], TensorProto.INT32, "INT32")]


REFUSED = [  # stage, operands that change, message
    ("run", {"x": np.zeros((2, 5), np.int8)}, "LinearSum 'node' of x 'x' int8[2,5]: x must be [.., 6], the inputs of weight int8[6,4]"),
    ("session", {"weight": np.zeros(6, np.int8)}, "LinearSum 'node': weight int8[6] must be int8 of rank 2"),
    ("session", {"bias": np.zeros(5, np.int32)}, "LinearSum 'node': bias int32[5] must be int32, one number or one for each of 4 outputs"),
]


@pytest.mark.parametrize(("stage", "changes", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_the_kernel_refuses_what_does_not_fit(stage, changes, message):
    try:
        library()
    except KernelError as error:
        pytest.skip(str(error))
    assert message in refusal_at(case((3,), 6, 4), stage, **changes)
