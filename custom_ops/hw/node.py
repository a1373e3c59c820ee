"""A hardware node: one RTL module's parameters, checked; its shapes, streams, cycles, timing, memories and area."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import NodeProto
from qonnx.core.datatype import DataType

from custom_ops.datatypes import datatype_of_element, signed_bits
from custom_ops.hw.cost import Memory, Part, Usage, usage
from custom_ops.hw.timing import Times, Timing
from custom_ops.op import HW_DOMAIN, INT8, INT32, UINT8, Op, OpError

Shape = tuple[int, ...]


class FoldingError(ValueError):
    """A node that the hardware cannot be built from; the message is one line with the way out."""


@dataclass(frozen=True)
class HwNode:
    """One validated hardware node. Shapes and figures are for one image (N = 1)."""

    name: str
    op_type: str
    in_lanes: tuple[int, ...]  # elements per beat, one entry per input stream
    out_lanes: tuple[int, ...]
    in_bits: int  # bits per element
    out_bits: int
    folded_input_shapes: tuple[Shape, ...]  # [1, ..., beats, lanes]
    folded_output_shapes: tuple[Shape, ...]
    cycles: int  # clock cycles per image, steady state, no stalls
    memories: tuple[Memory, ...]
    accumulator_bits: int  # 0: the node has none
    parts: tuple[Part, ...]  # what its RTL is made of, beside memories and multipliers
    multipliers: tuple[tuple[int, int, int], ...]  # (how many, bits of one factor, bits of the other)
    priced: tuple[Memory, ...]  # the memories as the RTL has them, TLAST and write lanes included
    timing: Timing  # the cycles at which its beats move

    def usage(self, family: str) -> Usage:
        """What its module costs on a device family, an estimate."""
        return usage(self.parts, self.priced, self.multipliers, family)

    @property
    def in_beats(self) -> tuple[int, ...]:
        """Beats per image of each input stream."""
        return tuple(math.prod(shape[:-1]) for shape in self.folded_input_shapes)

    @property
    def out_beats(self) -> tuple[int, ...]:
        """Beats per image of each output stream."""
        return tuple(math.prod(shape[:-1]) for shape in self.folded_output_shapes)

    def schedule(self, taken: Sequence[Times]) -> list[Times]:
        """Of each output the cycles at which its beats leave, int64 [beats of all images], if nothing behind it waits.

        taken: of each input the cycles at which its beats are handed over, int64 [beats of all images].
        """
        return self.timing.schedule(taken)


@dataclass(frozen=True)
class Site:
    """Where a hardware op is used: the node with its constants and shapes, and the checks that read them."""

    op: HwOp
    initializers: Mapping[str, np.ndarray]
    shapes: Mapping[str, Sequence[int]]
    bits: Mapping[str, int]

    @property
    def label(self) -> str:
        return self.op.label

    def attribute(self, name: str) -> int:
        return self.op.get_nodeattr(name)

    def shape(self, index: int = 0, rank: int | None = None) -> Shape:
        """Input `index`'s shape without the batch, e.g. (tokens, channels)."""
        name = self.op.onnx_node.input[index]
        if name not in self.shapes:
            raise FoldingError(f"{self.label}: no shape for input '{name}'; infer shapes first")
        shape = tuple(self.shapes[name])[1:]
        if rank is not None and len(shape) != rank - 1:
            raise FoldingError(f"{self.label}: input '{name}' has rank {len(shape) + 1}, not {rank}")
        if not shape or not all(isinstance(d, int | np.integer) and d > 0 for d in shape):
            raise FoldingError(f"{self.label}: '{name}' is {['N', *shape]}; only the batch may be unknown")
        return tuple(int(d) for d in shape)

    def stream_bits(self, index: int = 0) -> int:
        """Bits per element of input `index`: 8 unless the caller said 32."""
        return self.bits.get(self.op.onnx_node.input[index], 8)

    def constant(self, index: int, shape: Shape, kind: type[np.integer]) -> np.ndarray:
        """Input `index` as an array, which must be an initializer of that shape and type."""
        given = f"{self.op.inputs[index]} '{self.op.onnx_node.input[index]}'"
        array = self.initializers.get(self.op.onnx_node.input[index])
        if array is None:
            raise FoldingError(f"{self.label}: {given} must be an initializer")
        if array.shape != shape or array.dtype != kind:
            have, want = f"{array.dtype}{list(array.shape)}", f"{np.dtype(kind)}{list(shape)}"
            raise FoldingError(f"{self.label}: {given} is {have}, must be {want}")
        return array

    def shift(self, index: int, count: int) -> np.ndarray:
        """Input `index` as shifts int32 [count], each 0..31."""
        shift = self.constant(index, (count,), np.int32)
        if shift.min() < 0 or shift.max() > 31:
            raise FoldingError(f"{self.label}: shifts are {shift.min()}..{shift.max()}, must be in 0..31")
        return shift

    def parameter_bits(self, bias: np.ndarray, shift: np.ndarray | None) -> int:
        """Bits of a bias and the shift's distance from the smallest shift, as a parameter memory holds them per row."""
        spread = 0 if shift is None else int(shift.max() - shift.min())
        return signed_bits(int(bias.min()), int(bias.max())) + max(spread.bit_length(), 1)

    def fold(self, name: str, size: int, what: str) -> int:
        """The folding attribute `name`, which must divide `size`; `what` names the size, e.g. `rows`."""
        value = self.attribute(name)
        if value < 1 or size % value:
            ways_out = ", ".join(map(str, divisors(size)))
            raise FoldingError(f"{self.label}: {name}={value} must divide {size} {what}; try {ways_out}")
        return value

    def folded(self, shape: Shape, lanes: int) -> Shape:
        """(tokens, channels) at `lanes` a beat -> (1, tokens, channels / lanes, lanes)."""
        return (1, *shape[:-1], shape[-1] // lanes, lanes)

    def build(self, inputs: list[Shape], outputs: list[Shape], cycles: int, **figures) -> HwNode:
        """The finished node from its folded shapes; lanes are their last dimensions."""
        memories = tuple(figures.pop("memories", ()))
        priced = figures.pop("priced", None)
        return HwNode(
            name=self.op.onnx_node.name,
            op_type=self.op.onnx_node.op_type,
            in_lanes=tuple(shape[-1] for shape in inputs),
            out_lanes=tuple(shape[-1] for shape in outputs),
            in_bits=figures.pop("in_bits", 8),
            out_bits=figures.pop("out_bits", 8),
            folded_input_shapes=tuple(inputs),
            folded_output_shapes=tuple(outputs),
            cycles=cycles,
            memories=memories,
            accumulator_bits=figures.pop("accumulator_bits", 0),
            parts=tuple(figures.pop("parts", ())),
            multipliers=tuple(figures.pop("multipliers", ())),
            priced=memories if priced is None else tuple(priced),
            timing=figures.pop("timing"),
            **figures,
        )


class HwOp(Op):
    """Base of the hardware ops: also answers for its module, in `plan`."""

    domain = HW_DOMAIN
    folding: ClassVar[Mapping[str, int]] = {"PE": 1}

    def plan(self, site: Site) -> HwNode:
        """The node's HwNode, or FoldingError."""
        raise NotImplementedError(type(self).__name__)


class StreamOp(HwOp):
    """An op that hands its elements on unchanged; keeps the datatype of its input."""

    inputs = ("x",)
    types: ClassVar = {"x": (INT8, UINT8, INT32)}

    def infer_node_datatype(self, model) -> None:
        source = self.onnx_node.input[0]
        datatype = model.get_tensor_datatype(source)
        info = model.get_tensor_valueinfo(source)
        if datatype == DataType["FLOAT32"] and info is not None:  # not annotated yet, or float indeed
            datatype = datatype_of_element(info.type.tensor_type.elem_type)
        for output in self.onnx_node.output:
            model.set_tensor_datatype(output, datatype)


def hardware_node(
    node: NodeProto,
    initializers: Mapping[str, np.ndarray],
    shapes: Mapping[str, Sequence[int]],
    bits: Mapping[str, int] | None = None,
) -> HwNode:
    """The validated hardware node of an ONNX node of domain psaflow.hw.

    initializers and shapes are by tensor name; a shape's first dimension, the batch, is ignored; `bits` gives
    the width of tensors whose elements are not 8 bits. Raises FoldingError.
    """
    from custom_ops import hw  # the package lists the ops, so it imports this module

    if node.domain != HW_DOMAIN or node.op_type not in hw.OPS:
        domain = node.domain or "ai.onnx"
        raise FoldingError(f"{node.op_type} {node.name} of {domain} is no hardware node; lower it first")
    op = hw.OPS[node.op_type](node, onnx_opset_version=1)
    try:
        op.verify_node()
    except OpError as error:
        raise FoldingError(str(error)) from None
    return op.plan(Site(op, initializers, shapes, bits or {}))


def divisors(size: int) -> list[int]:
    """All divisors in rising order."""
    return [d for d in range(1, size + 1) if size % d == 0]


def integer32(model, tensor: str) -> None:
    """Annotates a tensor as INT32."""
    model.set_tensor_datatype(tensor, DataType["INT32"])
