"""What the tests of the fused layers share: models of one node with optional inputs, random operands, all ways to run them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from custom_ops import add_functions
from custom_ops.kernels import KernelError, isa
from custom_ops.op import Op
from custom_ops.rounding import ROUNDINGS
from custom_ops.runtime import kernels_of, session

from .faces import int8
from .kernel_cases import ISAS

SIZES = (1, 2, 3, 4, 5, 7, 16, 17, 31, 48, 64, 65, 96, 130)
LEADING = ((), (0,), (1,), (3,), (64,), (65,), (2, 64), (3, 43), (2, 0))
MORE_SHAPES = 7  # of the activations, beside a case's first: over a thousand in all of the fused layers' tests
REGIMES = ("shift", "scaled", "wide")  # how large the products with mult are: int32 holds them in the first two
ACTIVATIONS = ("x", "skip")  # inputs of the graph; all others are constants


@dataclass(frozen=True)
class LayerCase:
    """A node of `op` with operands by role, absent ones left out."""

    op: type[Op]
    operands: dict[str, np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)
    more: list[dict[str, np.ndarray]] = field(default_factory=list)  # activations of other shapes, of the same ranks

    def all_shapes(self) -> list[LayerCase]:
        """The same node on its own activations, then on those in `more`."""
        return [LayerCase(self.op, self.operands | activations, self.attributes) for activations in ({}, *self.more)]

    def model(self, inputs: tuple[str, ...] = ACTIVATIONS) -> ModelProto:
        """The tensors in `inputs`, of free shape, are the graph's inputs; the rest are constants."""
        names = [role if role in self.operands else "" for role in self.op.inputs]
        while not names[-1]:
            names.pop()
        expected = self.expected()

        def info(role: str, array: np.ndarray) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(role, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{role}_{i}" for i in range(array.ndim)])

        graph = helper.make_graph(
            [helper.make_node(self.op.__name__, names, ["y"], name="node", domain="psaflow", **self.attributes)], "layer",
            [info(role, array) for role, array in self.operands.items() if role in inputs],
            [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(expected.dtype), None)],
            [numpy_helper.from_array(array, role) for role, array in self.operands.items() if role not in inputs],
        )  # fmt: skip
        return add_functions(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10))

    def feed(self, inputs: tuple[str, ...] = ACTIVATIONS) -> dict[str, np.ndarray]:
        return {role: self.operands[role] for role in inputs if role in self.operands}

    def expected(self) -> np.ndarray:
        """By the numpy reference."""
        return self.op.reference(**self.operands, **self.attributes)

    def __str__(self) -> str:
        return f"{self.attributes} " + ", ".join(f"{role} {list(array.shape)}" for role, array in self.operands.items())


def requant_operands(rng: np.random.Generator, outputs: int, regime: str) -> dict[str, np.ndarray]:
    """mult, bias and shift, each one number or one per output; narrow shifts make ties, wide ones reach int32's ends."""

    def some(low: int, high: int) -> np.ndarray:
        shape = ((), (1,), (outputs,))[rng.integers(3)]
        return np.asarray(rng.integers(low, high, shape), np.int32)

    if regime == "shift":
        return {"mult": np.int32(1).reshape(()), "bias": some(-3000, 3000), "shift": some(0, 13)}
    if regime == "scaled":
        return {"mult": some(-9, 10), "bias": some(-(2**17), 2**17), "shift": some(0, 16)}
    return {"mult": some(-(2**31), 2**31), "bias": some(-(2**31), 2**31), "shift": some(20, 32)}


def other_lead(rng: np.random.Generator, lead: tuple[int, ...]) -> tuple[int, ...]:
    """Leading dimensions of as many axes, some empty, at most a few hundred rows."""
    sizes = [int(rng.choice([0, 1, 2, 3, 15, 16, 63, 64, 65, 129])) if i == 0 else int(rng.integers(1, 5)) for i in range(len(lead))]
    return tuple(sizes)


def layer_cases(op: type[Op], seed: int, count: int, *, along_tokens: bool) -> list[LayerCase]:
    """Random shapes, optional inputs, roundings and clips; every regime in turn."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        k, m, c = (int(rng.choice(SIZES)) for _ in range(3))
        lead = LEADING[rng.integers(len(LEADING))]
        x, y, channels = ((*lead, k, c), (*lead, m, c), (c, c)) if along_tokens else ((*lead, k), (*lead, m), (k, m))
        operands = {"x": int8(rng, *x), "weight": int8(rng, *((m, k) if along_tokens else (k, m)))}
        operands |= requant_operands(rng, m, REGIMES[number % 3])
        optional = {"table_in": (channels[0], 256), "table_out": (channels[1], 256), "skip": y, "skip_table": (channels[1], 256)}
        operands |= {role: int8(rng, *shape) for role, shape in optional.items() if rng.random() < 0.5}
        if "skip" not in operands:
            operands.pop("skip_table", None)
        lo, hi = sorted(int(v) for v in rng.integers(-128, 128, 2)) if rng.random() < 0.3 else (-128, 127)
        left = int(rng.integers(0, 23 if rng.random() < 0.3 else 4))
        sums = {"left": left, "skip_left": int(rng.integers(0, left + 1)), "right": min(int(rng.integers(0, left + 9)), 31)}
        more = []
        for _ in range(MORE_SHAPES):
            other = other_lead(rng, lead)
            if along_tokens and not any("table" in role for role in operands):
                c = int(rng.choice(SIZES))
            more.append({"x": int8(rng, *other, k, c) if along_tokens else int8(rng, *other, k)})
            if "skip" in operands:
                more[-1]["skip"] = int8(rng, *other, m, c) if along_tokens else int8(rng, *other, m)
        cases.append(LayerCase(op, operands, {"rounding": ROUNDINGS[number // 3 % 2], "lo": lo, "hi": hi} | sums, more))
    return cases


def identity_operands(rng: np.random.Generator, channels: int) -> dict[str, np.ndarray]:
    """Parameters of a layer that gives what it takes, and a table at each place: results are those of the tables alone."""
    one, zero = np.ones(1, np.int32), np.zeros(1, np.int32)
    tables = {role: int8(rng, channels, 256) for role in ("table_in", "table_out", "skip_table")}
    return {"weight": np.eye(channels, dtype=np.int8), "mult": one, "bias": zero, "shift": zero} | tables


def every_code_in(rows: int, channels: int) -> np.ndarray:
    """int8 [rows, channels], `rows` a multiple of 256: every channel holds every code, each in an order of its own."""
    codes = np.arange(-128, 128).astype(np.int8)
    return np.stack([np.roll(np.tile(codes, rows // 256), 7 * c) for c in range(channels)], 1)


def available() -> list[str]:
    """The instruction sets that this machine can run; [] without a compiler. Needs PSAFLOW_ISA unset."""
    try:
        return list(ISAS[: ISAS.index(isa()) + 1])
    except KernelError:
        return []


def assert_every_way_agrees(case: LayerCase, monkeypatch, *, threads: tuple[int, ...] = (1, 2)) -> None:
    """Body, and kernel with every instruction set and thread count, give the reference's bits, type and shape, on all shapes."""
    model = case.model()
    monkeypatch.delenv("PSAFLOW_ISA", raising=False)
    ways = {"body": session(model, kernels=False, threads=1)}
    for name in available():
        monkeypatch.setenv("PSAFLOW_ISA", name)
        for count in threads:
            ways[f"{name}, {count} threads"] = opened = session(model, kernels=True, threads=count)
            assert kernels_of(opened) == {f"psaflow.{case.op.__name__}": 1}
    for shaped in case.all_shapes():
        expected, feed = shaped.expected(), shaped.feed()
        for way, opened in ways.items():
            (got,) = opened.run(None, feed)
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape), way
            wrong = np.flatnonzero(got.ravel() != expected.ravel())
            assert not wrong.size, f"{way}: {wrong.size} of {got.size} differ, first at {wrong[0]}; {shaped}"


def refusal_at(case: LayerCase, stage: str, **changes: np.ndarray) -> str:
    """The message with which the kernel refuses `case`, its operands changed: at the "session" or at the "run"."""
    import pytest
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

    from custom_ops.runtime import ModelError

    changed = LayerCase(case.op, case.operands | changes, case.attributes)
    names = [role if role in changed.operands else "" for role in case.op.inputs]
    while not names[-1]:
        names.pop()
    info = [helper.make_tensor_value_info(r, helper.np_dtype_to_tensor_dtype(a.dtype), None) for r, a in changed.operands.items() if r in ACTIVATIONS]
    graph = helper.make_graph(
        [helper.make_node(case.op.__name__, names, ["y"], name="node", domain="psaflow", **case.attributes)], "layer", info,
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(case.expected().dtype), None)],
        [numpy_helper.from_array(array, role) for role, array in changed.operands.items() if role not in ACTIVATIONS],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("psaflow", 1)], ir_version=10)
    if stage == "session":
        with pytest.raises(ModelError) as refused:
            session(model, kernels=True, threads=1)
    else:
        opened = session(model, kernels=True, threads=1)
        with pytest.raises(InvalidArgument) as refused:
            opened.run(None, changed.feed())
    assert "\n" not in str(refused.value)
    return str(refused.value)

