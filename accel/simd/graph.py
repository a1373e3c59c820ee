"""3_integer.onnx -> the operations the engine knows, one object each, in order; what it does not know is refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from accel.simd.lanes import Scale
from custom_ops.channel_lut import interpolated_bits

DOMAIN = "psaflow"
MOST_MULT = 2**15 - 1  # the affines' multipliers have 16 bits
MOST_LEFT = 15  # left shift of an operand of a sum
RENAMES = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


class CompileError(ValueError):
    """A model that this build does not run; the message is one line that names the node or the size."""


@dataclass(frozen=True)
class Image:
    """uint8 [H, W, F] -> the codes of patches int8 [T, p*p*F]."""

    name: str
    output: str
    table: np.ndarray  # int8 [F, 256]
    height: int
    width: int
    colours: int
    patch: int

    @property
    def tokens(self) -> int:
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def features(self) -> int:
        return self.patch * self.patch * self.colours


@dataclass(frozen=True)
class Product:
    """int8 [T, K] -> int8 or, as logits, int32. `channels`: x @ weight [K, M], else weight [U, T] @ x."""

    name: str
    x: str
    output: str
    weight: np.ndarray
    channels: bool
    scale: Scale
    by_row: bool = False  # scale belongs to the output's rows
    wide: bool = False  # int32 [M]: accumulators plus bias


@dataclass(frozen=True)
class Affine:
    """int8 [T, C] -> int8, a Requant by channel."""

    name: str
    x: str
    output: str
    scale: Scale


@dataclass(frozen=True)
class Table:
    """int8 [T, C] -> int8 through a table of each channel, int8 [C, 256 or knots]."""

    name: str
    x: str
    output: str
    table: np.ndarray
    bits: int
    half_up: bool


@dataclass(frozen=True)
class Sum:
    """clip(round((a * 2**a_left + b * 2**b_left) / 2**shift), lo, hi)."""

    name: str
    a: str
    b: str
    output: str
    a_left: int
    b_left: int
    shift: int
    lo: int
    hi: int
    half_up: bool


Op = Product | Affine | Table | Sum


@dataclass
class Network:
    """The operations, and each int8 tensor's [tokens, channels]."""

    image: Image
    ops: list[Op] = field(default_factory=list)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    output: str = ""


@dataclass(frozen=True)
class _Wide:
    """An int32 tensor on its way to a Requant: a product, a sum of tokens, or int8 operands with left shifts."""

    kind: str  # product, mean, sum
    node: NodeProto
    terms: tuple[tuple[str, int], ...]  # int8 tensors and their left shifts
    weight: np.ndarray | None = None
    channels: bool = True
    bias: np.ndarray | None = None


def read(model: onnx.ModelProto) -> Network:
    """The network of an integer model. CompileError names the first node that the engine does not know."""
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        inputs = [v for v in self.graph.input if v.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise CompileError(f"{len(inputs)} inputs and {len(self.graph.output)} outputs; the engine has one of each")
        self.source, self.sink = inputs[0], self.graph.output[0].name
        self.wide: dict[str, _Wide] = {}
        self.same: dict[str, str] = {}
        self.network: Network | None = None
        self.pixels: dict[str, tuple[int, ...]] = {}  # the image on its way to patches: tensor -> shape without the batch
        self.table: np.ndarray | None = None

    def read(self) -> Network:
        for node in self.graph.node:
            self._node(node)
        if self.network is None:
            raise CompileError("no patches: ChannelLUT, Reshape, Transpose and Reshape of the image must come first")
        self.network.output = self.same.get(self.sink, self.sink)
        if self.network.output not in self.network.shapes:
            raise CompileError(f"the output '{self.sink}' is the result of no operation")
        return self.network

    def _node(self, node: NodeProto) -> None:
        handlers = {
            (DOMAIN, "ChannelLUT"): self._table, (DOMAIN, "Requant"): self._requant, ("", "MatMulInteger"): self._product,
            ("", "Cast"): self._cast, ("", "Mul"): self._mul, ("", "Add"): self._add, ("", "ReduceSum"): self._mean,
            ("", "Transpose"): self._transpose, ("", "Constant"): self._constant,
        } | {("", op): self._rename for op in RENAMES}  # fmt: skip
        handler = handlers.get((node.domain if node.domain != "ai.onnx" else "", node.op_type))
        if handler is None:
            raise self._refuse(node, "the engine has no such operation")
        handler(node)

    def _refuse(self, node: NodeProto, reason: str) -> CompileError:
        return CompileError(f"{node.op_type} {node.name or node.output[0]}: {reason}")

    def _const(self, node: NodeProto, index: int) -> np.ndarray:
        if len(node.input) <= index or node.input[index] not in self.constants:
            raise self._refuse(node, f"input {index} must be a constant")
        return self.constants[node.input[index]]

    def _int8(self, node: NodeProto, name: str) -> str:
        name = self.same.get(name, name)
        if self.network is None or name not in self.network.shapes:
            raise self._refuse(node, f"'{name}' is no int8 tensor of tokens and channels")
        return name

    def _constant(self, node: NodeProto) -> None:
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            self.constants[node.output[0]] = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value)

    def _rename(self, node: NodeProto) -> None:
        name = self.same.get(node.input[0], node.input[0])
        if name in self.pixels:
            self._reshape(node, self.pixels[name])
            return
        if name in self.wide:
            self.wide[node.output[0]] = self.wide[name]
            return
        shape = self._shapes().get(self._int8(node, name), (0, 0))
        if node.op_type in ("Reshape", "Flatten") and shape[0] != 1:
            raise self._refuse(node, f"it moves {shape[0]} tokens of {shape[1]} channels")
        self.same[node.output[0]] = name

    def _shapes(self) -> dict[str, tuple[int, int]]:
        return self.network.shapes if self.network else {}

    def _reshape(self, node: NodeProto, shape: tuple[int, ...]) -> None:
        if node.op_type == "Identity":
            self.pixels[node.output[0]] = shape
            return
        wanted = [int(v) for v in self._const(node, 1)]
        if node.op_type != "Reshape":
            raise self._refuse(node, "an image is cut into patches by Reshape, Transpose, Reshape")
        if len(shape) == 3 and len(wanted) == 6:
            down, p, across, q, colours = wanted[1:]
            if p != q or (down * p, across * q, colours) != shape:
                raise self._refuse(node, f"{wanted[1:]} does not cut {list(shape)} into square patches")
            self.pixels[node.output[0]] = (down, p, across, q, colours)
        elif len(shape) == 5 and len(wanted) == 3:
            down, across, p, q, colours = shape
            table, name = self.table, node.output[0]
            if table is None or wanted[1:] != [down * across, p * q * colours]:
                raise self._refuse(node, f"{wanted[1:]} must be {[down * across, p * q * colours]}")
            self.network = Network(Image(node.name or name, name, table, down * p, across * q, colours, p))
            self.network.shapes[name] = (down * across, p * q * colours)
        else:
            raise self._refuse(node, f"{list(shape)} to {wanted} is no step towards patches")

    def _transpose(self, node: NodeProto) -> None:
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        shape = self.pixels.get(node.input[0], ())
        if len(shape) != 5 or perm != [0, 1, 3, 2, 4, 5]:
            raise self._refuse(node, "only the transposition that cuts an image into patches is known")
        down, p, across, q, colours = shape
        self.pixels[node.output[0]] = (down, across, p, q, colours)

    def _table(self, node: NodeProto) -> None:
        table, rounding = self._const(node, 1), _attribute(node, "rounding", b"HALF_EVEN")
        bits = interpolated_bits(table.shape[1])
        if node.input[0] == self.source.name:
            dims = tuple(d.dim_value for d in self.source.type.tensor_type.shape.dim)[1:]
            if self.source.type.tensor_type.elem_type != TensorProto.UINT8 or len(dims) != 3 or not all(dims):
                raise self._refuse(node, f"the image must be uint8 [N, H, W, F], not {list(dims)}")
            if bits:
                raise self._refuse(node, "the image's table must have 256 entries")
            self.table = np.broadcast_to(table, (dims[2], 256))
            self.pixels[node.output[0]] = dims
            return
        x = self._int8(node, node.input[0])
        shape = self._shapes()[x]
        spread = np.broadcast_to(table, (shape[1], table.shape[1]))
        self._emit(Table(node.name, x, node.output[0], spread, bits, rounding == b"HALF_UP"), shape)

    def _emit(self, op: Op, shape: tuple[int, int]) -> None:
        if self.network is not None:
            self.network.ops.append(op)
            self.network.shapes[op.output] = shape

    def _product(self, node: NodeProto) -> None:
        if len([i for i in node.input if i]) != 2:
            raise self._refuse(node, "zero points are not known; bring them into the bias")
        at = next((i for i in (0, 1) if node.input[i] in self.constants), None)
        if at is None:
            raise self._refuse(node, "one operand must be a constant matrix")
        weight, x = self._const(node, at), self._int8(node, node.input[1 - at])
        if weight.dtype != np.int8 or weight.ndim != 2:
            raise self._refuse(node, f"the weights are {weight.dtype} of rank {weight.ndim}, not an int8 matrix")
        self.wide[node.output[0]] = _Wide("product", node, ((x, 0),), weight, at == 1)

    def _mean(self, node: NodeProto) -> None:
        wide = self.wide.get(node.input[0])
        axes = self._const(node, 1) if len(node.input) > 1 else None
        if wide is None or wide.kind != "sum" or len(wide.terms) != 1 or axes is None or axes.tolist() not in ([1], [-2]):
            raise self._refuse(node, "only the sum over tokens of int8 is known")
        if wide.terms[0][1]:
            raise self._refuse(node, "its operand is shifted")
        self.wide[node.output[0]] = _Wide("mean", node, wide.terms)

    def _cast(self, node: NodeProto) -> None:
        if _attribute(node, "to", 0) != TensorProto.INT32:
            raise self._refuse(node, "only a cast of int8 to int32 is known")
        self.wide[node.output[0]] = _Wide("sum", node, ((self._int8(node, node.input[0]), 0),))

    def _mul(self, node: NodeProto) -> None:
        wide, factor = self.wide.get(node.input[0]), self._const(node, 1)
        left = int(factor.ravel()[0]).bit_length() - 1 if factor.size == 1 else -1
        if wide is None or wide.kind != "sum" or left < 0 or factor.ravel()[0] != 1 << left:
            raise self._refuse(node, f"only int8 times one power of two is known, not {factor.ravel()[:4].tolist()}")
        self.wide[node.output[0]] = _Wide("sum", node, tuple((name, at + left) for name, at in wide.terms))

    def _add(self, node: NodeProto) -> None:
        a, b = (self.wide.get(name) for name in node.input)
        if a is not None and b is not None and a.kind == b.kind == "sum" and len(a.terms) == len(b.terms) == 1:
            self.wide[node.output[0]] = _Wide("sum", node, a.terms + b.terms)
            return
        wide = a if a is not None else b
        if wide is None or wide.kind != "product" or not wide.channels or wide.bias is not None:
            raise self._refuse(node, "only a sum of two int8 tensors, or a bias on a product, is known")
        constant = self._const(node, 1 if wide is a else 0)
        self.wide[node.output[0]] = biased = _Wide(wide.kind, wide.node, wide.terms, wide.weight, True, constant.astype(np.int64))
        if node.output[0] == self.sink:
            weight = _weight(biased)
            neutral = Scale(np.ones(1, np.int64), np.broadcast_to(constant.astype(np.int64), weight.shape[1:]), np.zeros(1, np.int64))
            self._emit(
                Product(node.name, biased.terms[0][0], node.output[0], weight, True, neutral, wide=True),
                (self._shapes()[biased.terms[0][0]][0], weight.shape[1]),
            )

    def _requant(self, node: NodeProto) -> None:
        mult, bias, shift = (self._const(node, i).astype(np.int64).ravel() for i in (1, 2, 3))
        axis, output = _attribute(node, "axis", -1), node.output[0]
        half_up = _attribute(node, "rounding", b"HALF_EVEN") == b"HALF_UP"
        lo, hi = _attribute(node, "lo", -128), _attribute(node, "hi", 127)
        scale, wide = Scale(mult, bias, shift, lo, hi, half_up), self.wide.get(node.input[0])
        if wide is None:
            x = self._int8(node, node.input[0])
            if axis != -1 or np.abs(mult).max() > MOST_MULT:
                raise self._refuse(node, f"axis={axis}, multipliers to {np.abs(mult).max()}: of int8 by channel, at most {MOST_MULT}")
            self._emit(Affine(node.name, x, output, scale), self._shapes()[x])
            return
        if np.any(mult != 1):
            raise self._refuse(node, f"multipliers to {np.abs(mult).max()} on an accumulator; the engine shifts accumulators only")
        if wide.kind == "sum":
            self._sum(node, wide, scale)
            return
        x = wide.terms[0][0]
        tokens, channels = self._shapes()[x]
        weight = np.ones((1, tokens), np.int8) if wide.kind == "mean" else _weight(wide)
        over_channels = wide.kind == "product" and wide.channels
        if weight.shape[0 if over_channels else 1] != (channels if over_channels else tokens):
            raise self._refuse(node, f"a matrix {list(weight.shape)} does not fit {tokens} tokens of {channels} channels")
        if wide.bias is not None:
            scale = Scale(mult, bias + wide.bias, shift, lo, hi, half_up)
        shape = (tokens, weight.shape[1]) if over_channels else (len(weight), channels)
        by_row = axis == -2 and max(bias.size, shift.size) > 1
        if axis not in (-1, -2) or (by_row and over_channels):
            raise self._refuse(node, f"axis={axis} does not fit this product")
        self._emit(Product(node.name, x, output, weight, over_channels, scale, by_row), shape)

    def _sum(self, node: NodeProto, wide: _Wide, scale: Scale) -> None:
        if len(wide.terms) != 2 or np.any(scale.bias != 0) or scale.shift.size != 1:
            raise self._refuse(node, "a sum has two operands, one shift and no bias")
        (a, a_left), (b, b_left) = wide.terms
        shapes = self._shapes()
        if shapes[a] != shapes[b]:
            raise self._refuse(node, f"operands of {list(shapes[a])} and {list(shapes[b])}")
        if max(a_left, b_left) > MOST_LEFT:
            raise self._refuse(node, f"an operand shifted left by {max(a_left, b_left)}; at most {MOST_LEFT}")
        shift = int(scale.shift[0])
        self._emit(Sum(node.name, a, b, node.output[0], a_left, b_left, shift, scale.lo, scale.hi, scale.half_up), shapes[a])


def _weight(wide: _Wide) -> np.ndarray:
    if wide.weight is None:
        raise CompileError(f"{wide.node.op_type} {wide.node.name}: no matrix")
    return wide.weight


def _attribute(node: NodeProto, name: str, default: int | bytes):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def consumers(network: Network) -> Mapping[str, list[Op]]:
    """The operations that read each tensor, once for each operand."""
    found: dict[str, list[Op]] = {}
    for op in network.ops:
        for name in (op.a, op.b) if isinstance(op, Sum) else (op.x,):
            found.setdefault(name, []).append(op)
    return found
