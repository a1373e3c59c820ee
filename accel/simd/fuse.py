"""Operations -> layers: what one kind of tile does in one go, in the order of the engine's datapath."""

from dataclasses import dataclass

import numpy as np

from accel.simd.graph import Affine, CompileError, Network, Op, Product, Sum, Table, consumers
from accel.simd.isa import Mode
from accel.simd.lanes import Scale, neutral


@dataclass
class Layer:
    """product or copy -> branch affine -> sum with the residual -> raw result, function of it."""

    name: str
    mode: Mode
    x: str
    shape: tuple[int, int]  # of the result
    main: Scale
    weight: np.ndarray | None = None  # mode WEIGHTS: [K, M]; HELD: [U, T]
    by_row: bool = False
    wide: bool = False
    branch: Scale | None = None
    residual: str | None = None
    residual_scale: Scale | None = None
    sum: Sum | None = None
    swapped: bool = False  # the sum's operand a is the residual
    raw: str | None = None
    function: Affine | Table | None = None
    logits: bool = False

    @property
    def reads(self) -> list[str]:
        return [self.x] + ([self.residual] if self.residual else [])

    @property
    def writes(self) -> list[str]:
        return [name for name in (self.raw, self.function.output if self.function else None) if name]


def fuse(network: Network) -> list[Layer]:
    """The network's layers in order. Every operation is in exactly one."""
    return _Fuser(network).fuse()


class _Fuser:
    def __init__(self, network: Network) -> None:
        self.network, self.readers = network, consumers(network)
        self.absorbed: set[str] = set()  # outputs of operations that are in a layer
        self.ready = {network.image.output}  # tensors in memory
        self.layers: list[Layer] = []

    def fuse(self) -> list[Layer]:
        for op in self.network.ops:
            if op.output not in self.absorbed and not self._waits(op):
                self._start(op)
        return self.layers

    def _sole_sum(self, name: str) -> Sum | None:
        """The sum that is the only reader of a tensor."""
        readers = self.readers.get(name, [])
        single = len(readers) == 1 and name != self.network.output and isinstance(readers[0], Sum)
        return readers[0] if single and isinstance(readers[0], Sum) else None

    def _waits(self, op: Op) -> bool:
        """An affine that only a sum reads is done where the sum is."""
        return isinstance(op, Affine) and self._sole_sum(op.output) is not None

    def _start(self, op: Op) -> None:
        shape = self.network.shapes[op.output]
        match op:
            case Product():
                mode = Mode.WEIGHTS if op.channels else Mode.HELD
                layer = Layer(op.name, mode, op.x, shape, op.scale, op.weight, op.by_row, op.wide)
                self._extend(layer, op.output)
            case Affine():
                self._extend(Layer(op.name, Mode.COPY, op.x, shape, neutral(1), branch=op.scale), op.output)
            case Table():
                layer = Layer(op.name, Mode.COPY, op.x, shape, neutral(1), function=op)
                self._finish(layer, None)
            case Sum():
                self._sum(op, shape)

    def _sum(self, op: Sum, shape: tuple[int, int]) -> None:
        """A sum whose operands are in memory, or are affines of what is."""
        found = self._operand(op.b)
        layer = Layer(op.name, Mode.COPY, found[0], shape, neutral(1), branch=found[1])
        if not self._add(layer, op, op.b):
            raise CompileError(f"Sum {op.name}: its operands must be two tensors, each in memory or an affine of one that is")
        self._extend(layer, op.output)

    def _operand(self, name: str) -> tuple[str, Scale | None]:
        """(tensor in memory, affine on the way from it) of a sum's operand; ('', None) if it is not there."""
        if name in self.ready:
            return name, None
        op = next((o for o in self.network.ops if o.output == name), None)
        if isinstance(op, Affine) and op.x in self.ready and name not in self.absorbed and self._sole_sum(name):
            return op.x, op.scale
        return "", None

    def _add(self, layer: Layer, op: Sum, branch: str) -> bool:
        """Take the sum into the layer whose result is its operand `branch`, if the other is there."""
        swapped = op.b == branch
        other = op.a if swapped else op.b
        tensor, scale = self._operand(other)
        if not tensor or tensor == layer.x:
            return False
        layer.sum, layer.swapped, layer.residual, layer.residual_scale = op, swapped, tensor, scale
        self.absorbed |= {op.output, other, branch}
        return True

    def _extend(self, layer: Layer, output: str) -> None:
        """Take what follows `output` into the layer, as far as the datapath goes."""
        readers, final = self.readers.get(output, []), self.network.output
        if layer.branch is None and layer.sum is None and len(readers) == 1 and output != final and not layer.wide:
            op = readers[0]
            if isinstance(op, Affine):
                layer.branch, output = op.scale, op.output
                self.absorbed.add(output)
        total = self._sole_sum(output) if layer.sum is None else None
        if total is not None and self._add(layer, total, output):
            output = total.output
        self._function(layer, output)

    def _function(self, layer: Layer, output: str) -> None:
        readers = self.readers.get(output, [])
        for op in readers:
            if isinstance(op, Affine | Table) and op.output not in self.absorbed and not self._waits(op):
                layer.function = op
                break
        others = [op for op in readers if op is not layer.function]
        self._finish(layer, output if others or output == self.network.output or layer.function is None else None)

    def _finish(self, layer: Layer, raw: str | None) -> None:
        if layer.function is not None:
            self.absorbed.add(layer.function.output)
        layer.raw = raw
        layer.logits = raw == self.network.output
        if layer.function is not None and layer.function.output == self.network.output:
            raise CompileError(f"{layer.function.name}: logits must be the result of a layer, not a function of it")
        if layer.logits and layer.shape[0] != 1:
            raise CompileError(f"{layer.name}: logits of {layer.shape[0]} tokens; the engine sends those of one")
        if layer.logits:
            if self.readers.get(self.network.output):
                raise CompileError(f"{layer.name}: the logits are read inside the network")
            layer.raw = None
        self.ready |= set(layer.writes)
        self.layers.append(layer)
