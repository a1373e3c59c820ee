"""What the tests of the compiled kernels share: one-node models of free shape, random operands, instruction sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from custom_ops import PSA, ChannelLUT, GridLerp, LerpPSA, Requant, add_functions
from custom_ops.channel_lut import KNOTS
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.rounding import ROUNDINGS

from .faces import int8, int32

ISAS = ("portable", "avx2", "avx512")
REFERENCES: dict[str, Callable[..., np.ndarray]] = {op.__name__: op.reference for op in (ChannelLUT, GridLerp, LerpPSA, PSA, Requant)}


@dataclass(frozen=True)
class Case:
    """An op with its parameters, and inputs x of several shapes."""

    op: str
    parameters: tuple[np.ndarray, ...]
    xs: list[np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = "psaflow"

    def model(self, computed: bool = False) -> ModelProto:
        """x of any shape of its rank; the parameters are constants, or with `computed` inputs of their shapes."""
        return one_node(self.op, (self.xs[0], *self.parameters), 1 + len(self.parameters) * computed, self.domain, **self.attributes)

    def expected(self, x: np.ndarray) -> np.ndarray:
        """By the numpy reference."""
        if self.op == "Quant":
            return quant(x, *self.parameters, **self.attributes)
        return REFERENCES[self.op](x, *self.parameters, **self.attributes)


def one_node(op: str, arrays: tuple[np.ndarray, ...], inputs: int, domain: str = "psaflow", bodies: bool = True, **attributes) -> ModelProto:
    """A node `node` of in0, in1, ...; the first `inputs` are graph inputs whose dimensions are free, the rest constants."""

    def info(name: str, array: np.ndarray, free: bool) -> onnx.ValueInfoProto:
        shape = [f"{name}_{i}" for i in range(array.ndim)] if free else array.shape
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)

    names = [f"in{i}" for i in range(len(arrays))]
    node = helper.make_node(op, names, ["y"], name="node", domain=domain, **attributes)
    kind = np.int8 if op in ("ChannelLUT", "Requant") else arrays[0].dtype
    graph = helper.make_graph(
        [node], "one_node", [info(name, array, i == 0) for i, (name, array) in enumerate(zip(names[:inputs], arrays))],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None)],
        [numpy_helper.from_array(array, name) for name, array in list(zip(names, arrays))[inputs:]],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(domain, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return add_functions(model) if bodies else model


def quant(x, scale, zero, bits, *, signed=1, narrow=1, rounding_mode="ROUND"):
    """QONNX's Quant in numpy, float32 step by step."""
    one, two = np.float32(1), np.float32(2)
    magnitude = two ** (bits.astype(np.float32) - np.float32(signed))
    top = magnitude - one - np.float32(narrow) * (one - np.float32(signed))
    bottom = (np.float32(narrow) - magnitude) * np.float32(signed)
    return (np.rint(np.maximum(np.minimum(x / scale + zero, top), bottom)) - zero) * scale


def shapes(rng: np.random.Generator, rank: int, count: int, last: int, axis: int = -1, most: int = 3000) -> Iterator[tuple[int, ...]]:
    """`count` shapes of one rank with `last` at `axis`, at most about `most` elements; one in six has an empty dimension."""
    for _ in range(count):
        shape = [int(rng.integers(1, 13)) for _ in range(rank)]
        if rank > 1 and axis != -rank:
            shape[0] = int(rng.choice([1, 2, 11, 16, 17, 63, 64, 65, 130]))
        while np.prod(shape) * last > most * 30 and max(shape) > 1:
            shape = [max(n // 2, 1) for n in shape]
        if rng.random() < 1 / 6 and axis != -rank:
            shape[0] = 0
        shape[axis] = last
        yield tuple(shape)


def channel_lut_case(rng: np.random.Generator, count: int) -> Case:
    kind = rng.choice([np.int8, np.uint8])
    channels = int(rng.integers(1, 140))
    width = int(rng.choice([256, 256, *KNOTS.values()]))
    xs = [rng.integers(0, 256, shape).astype(kind) for shape in shapes(rng, int(rng.integers(1, 5)), count, channels)]
    lowest = int(np.iinfo(kind).min)
    return Case("ChannelLUT", (int8(rng, channels, width),), xs, {"rounding": str(rng.choice(ROUNDINGS)), "lowest": lowest})


def requant_case(rng: np.random.Generator, count: int) -> Case:
    kind = rng.choice([np.int8, np.int32])
    axis = int(rng.choice([-1, -1, -2, -3, -4]))
    along = int(rng.integers(1, 90))
    most_mult, most_shift = [(2, 9), (2**14, 24), (2**31 - 1, 32)][rng.integers(3)]

    def parameter(low: int, high: int) -> np.ndarray:
        size = [(), (1,), (along,), (along,)][rng.integers(4)]
        return np.asarray(rng.integers(low, high, size), np.int32)

    bias = np.asarray(parameter(-(2**30), 2**30) >> rng.integers(31), np.int32)
    parameters = parameter(-most_mult, most_mult), bias, parameter(0, most_shift)
    rank = int(rng.integers(-axis, 5))
    size = 2 ** int(rng.integers(3, 32))
    xs = [rng.integers(*(-128, 128) if kind is np.int8 else (-size // 2, size // 2), shape).astype(kind) for shape in shapes(rng, rank, count, along, axis)]
    lo = int(rng.integers(-128, 128))
    limits = {"lo": lo, "hi": int(rng.integers(lo, 128))} if rng.random() < 0.5 else {}
    return Case("Requant", parameters, xs, {"axis": axis, "rounding": str(rng.choice(ROUNDINGS)), **limits})


def grid_lerp_case(rng: np.random.Generator, count: int) -> Case:
    channels, points = int(rng.integers(1, 70)), int(rng.choice([2, 3, 17, 64, 65]))
    xs = [floats(rng, *shape) for shape in shapes(rng, int(rng.integers(1, 4)), count, channels)]
    return Case("GridLerp", (floats(rng, channels, points),), xs, {"bound": float(rng.choice([4.0, 1.5])), "residual": int(rng.integers(2))})


def psa_case(rng: np.random.Generator, count: int, op: str = "PSA") -> Case:
    channels, features = int(rng.integers(1, 40)), int(rng.choice([1, 4, 8]))
    kind = rng.choice([np.float32, np.float64]) if op == "PSA" else np.float32
    parameters = tuple(floats(rng, *shape) for shape in [(channels, features)] * 3 + [(channels,)] * 2)
    xs = [floats(rng, *shape).astype(kind) for shape in shapes(rng, int(rng.integers(1, 4)), count, channels, most=500)]
    return Case(op, parameters, xs, {"epsilon": 0.5, "residual": int(rng.integers(2))})


def quant_case(rng: np.random.Generator, count: int) -> Case:
    rank, channels = int(rng.integers(1, 5)), int(rng.integers(1, 70))
    axis = int(rng.integers(-rank, 0))
    spread = [n if n == channels else 1 for n in [channels if i == axis else 1 for i in range(-rank, 0)]]

    def parameter(values: np.ndarray) -> np.ndarray:
        size = [(), (1,), tuple(spread), tuple(spread)][rng.integers(4)]
        return np.asarray(rng.choice(values, size), np.float32)

    scale = parameter(np.array([2.0**-7, 2.0**-3, 0.0371, 1.0]))
    zero = parameter(np.array([0, 0, 3, -5]))
    bits = parameter(np.array([2, 4, 8, 24]))
    xs = [(floats(rng, *shape) * 9).astype(np.float32) for shape in shapes(rng, rank, count, channels, axis)]
    for x in xs[::2]:
        x[...] = np.round(x * 256) / 256  # many ties
    attributes = {"signed": int(rng.integers(2)), "narrow": int(rng.integers(2)), "rounding_mode": "ROUND"}
    return Case("Quant", (scale, zero, bits), xs, attributes, str(rng.choice(QUANT_DOMAINS)))


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 2, shape).astype(np.float32)


def lerp_psa_case(rng: np.random.Generator, count: int) -> Case:
    case = psa_case(rng, count, "LerpPSA")
    return Case("LerpPSA", case.parameters, case.xs, {**case.attributes, "grid": int(rng.choice([2, 33, 64])), "bound": 3.0})


# op -> how its random cases are made, how many cases, shapes in each: 1,000 shapes in all
CASES: dict[str, tuple[Callable[[np.random.Generator, int], Case], int, int]] = {
    "ChannelLUT": (channel_lut_case, 25, 10),
    "Requant": (requant_case, 40, 8),
    "GridLerp": (grid_lerp_case, 15, 10),
    "LerpPSA": (lerp_psa_case, 6, 5),
    "PSA": (psa_case, 10, 5),
    "Quant": (quant_case, 25, 8),
}


def large_case(op: str) -> Case:
    """Large enough that the kernel splits it; sizes that no vector divides."""
    rng = np.random.default_rng(5)
    if op == "ChannelLUT":
        return Case(op, (int8(rng, 97, 256),), [int8(rng, 70, 63, 97)])
    if op == "Requant":
        return Case(op, (int32(rng, -9, 9, 97), int32(rng, -99, 99, 97), int32(rng, 1, 9, 97)), [int32(rng, -999, 999, 70, 63, 97)])
    if op == "Quant":
        return Case(op, tuple(np.array(v, np.float32) for v in (0.125, 0, 8)), [floats(rng, 70, 63, 97)], {}, QUANT_DOMAINS[0])
    if op == "GridLerp":
        return Case(op, (floats(rng, 97, 64),), [floats(rng, 70, 63, 97)])
    return Case(op, tuple(floats(rng, *shape) for shape in [(97, 4)] * 3 + [(97,)] * 2), [floats(rng, 9, 63, 97)])
