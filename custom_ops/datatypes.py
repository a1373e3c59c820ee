"""QONNX datatypes from and to what the ops hold: integer ranges, numpy types, ONNX element types."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto
from qonnx.core.datatype import BaseDataType, DataType

CONTAINERS = ((8, True, TensorProto.INT8), (8, False, TensorProto.UINT8), (32, True, TensorProto.INT32))


def integer_datatype(low: int, high: int) -> BaseDataType:
    """The narrowest INT or UINT that holds low..high; (-128, 127) -> INT8, (0, 255) -> UINT8."""
    if low > high:
        raise ValueError(f"low={low} must not exceed high={high}")
    if low >= 0:
        return DataType[f"UINT{max(int(high).bit_length(), 2)}"]
    return DataType[f"INT{signed_bits(low, high)}"]


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement number that holds low..high, at least 2."""
    return max(int(max(high, 0)).bit_length(), int(max(-low - 1, 0)).bit_length(), 1) + 1


def element_type(datatype: BaseDataType) -> int:
    """The ONNX element type that carries `datatype`: INT8, UINT8 or INT32 for integers, else FLOAT."""
    if not datatype.is_integer():
        return TensorProto.FLOAT
    for bits, signed, element in CONTAINERS:
        limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if limits[0] <= datatype.min() and datatype.max() <= limits[1]:
            return element
    raise ValueError(f"{datatype.name} does not fit INT32")


def datatype_of(array: np.ndarray) -> BaseDataType:
    """INT8 for an int8 array, UINT8, INT32, ...; FLOAT32 for anything that is not an integer."""
    kind = np.asarray(array).dtype
    if kind.kind not in "iu":
        return DataType["FLOAT32"]
    return DataType[f"{'U' if kind.kind == 'u' else ''}INT{kind.itemsize * 8}"]


def datatype_of_element(element: int) -> BaseDataType:
    """INT8 for TensorProto.INT8 and so on for integers; FLOAT32 for anything else."""
    return datatype_of(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(element)))


def accumulator_range(weight: np.ndarray, bias: np.ndarray | int = 0, low: int = -128, high: int = 127) -> tuple[int, int]:
    """weight [rows, columns], bias [rows], inputs in low..high -> least and greatest partial sum.

    Terms may come in any order and the bias at any point. `low` must be <= 0 <= `high`.
    """
    weight = np.asarray(weight, np.int64)
    bias = np.broadcast_to(np.asarray(bias, np.int64), weight.shape[:1])
    most = np.maximum(weight * low, weight * high).sum(axis=1) + np.maximum(bias, 0)
    least = np.minimum(weight * low, weight * high).sum(axis=1) + np.minimum(bias, 0)
    return int(least.min()), int(most.max())


def accumulator_bits(weight: np.ndarray, bias: np.ndarray | int = 0, low: int = -128, high: int = 127) -> int:
    """Bits that hold every partial sum of `weight @ input + bias`; shapes as in `accumulator_range`."""
    return signed_bits(*accumulator_range(weight, bias, low, high))
