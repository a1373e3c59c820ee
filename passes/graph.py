"""A view of a model's graph for rewrites: who makes a tensor, who uses it, what is constant; and the base of a rewrite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import DOMAIN, HW_DOMAIN
from custom_ops.quant import DOMAINS as QUANT_DOMAINS

log = logging.getLogger(__name__)
QUANT_DOMAIN = "qonnx.custom_op.general"
MATCHED_DOMAINS = ("", "ai.onnx", DOMAIN, HW_DOMAIN, *QUANT_DOMAINS)  # an op of another may share a name, but not its meaning
OVERRIDABLE_IR = 4  # from this IR version on a graph input gives an initializer of its name another value


class PassRefusal(ValueError):
    """A pass found its pattern, but its rule does not hold there; the message names the node, the value and the rule."""


class Graph:
    """Read and edit `model.graph`; lookups are rebuilt after each edit."""

    def __init__(self, model: ModelWrapper) -> None:
        self.model = model
        self.proto = model.model.graph
        self.reindex()

    def reindex(self) -> None:
        """Rebuild the lookups after an edit of `proto` by hand."""
        self._producers = {o: n for n in self.proto.node for o in n.output}
        self._consumers: dict[str, list[NodeProto]] = {}
        for node in self.proto.node:
            for name in reads(node):
                users = self._consumers.setdefault(name, [])
                if node not in users:
                    users.append(node)
        given = {i.name for i in self.proto.input} if self.model.model.ir_version >= OVERRIDABLE_IR else set()
        self._constants = {i.name: i for i in self.proto.initializer if i.name not in given}

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.proto.output]

    def producer(self, tensor: str, *op_types: str) -> NodeProto | None:
        """The node that makes `tensor`, if it is one of `op_types` (any if none is given)."""
        node = self._producers.get(tensor)
        return node if node is not None and _is_one_of(node, op_types) else None

    def current(self, node: NodeProto) -> NodeProto:
        """`node` as it stands in the graph after an edit, found by what it makes."""
        return self._producers[node.output[0]]

    def consumers(self, tensor: str) -> list[NodeProto]:
        return self._consumers.get(tensor, [])

    def only_consumer(self, tensor: str, *op_types: str) -> NodeProto | None:
        """The single node that uses `tensor`, if it is one of `op_types` and the tensor is no graph output."""
        users = self.consumers(tensor)
        if len(users) != 1 or tensor in self.outputs or not _is_one_of(users[0], op_types):
            return None
        return users[0]

    def used_once(self, tensor: str) -> bool:
        return len(self.consumers(tensor)) == 1 and tensor not in self.outputs

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of an initializer, or of a Constant node; None for anything else."""
        if tensor in self._constants:
            return numpy_helper.to_array(self._constants[tensor])
        node = self.producer(tensor, "Constant")
        value = attribute(node, "value") if node is not None else None
        return numpy_helper.to_array(value) if isinstance(value, TensorProto) else None

    def shape(self, tensor: str) -> list[int]:
        """Dimensions of a tensor, 0 for a dynamic one; a refusal where they are unknown."""
        constant = self.constant(tensor)
        if constant is not None:
            return list(constant.shape)
        for value in (*self.proto.value_info, *self.proto.input, *self.proto.output):
            if value.name == tensor and value.type.tensor_type.HasField("shape"):
                return [d.dim_value for d in value.type.tensor_type.shape.dim]
        raise PassRefusal(f"{tensor}: its shape is unknown; run shape inference before")

    def dims(self, tensor: str) -> list[int | str] | None:
        """Dimensions of an activation: a dynamic one by its name, "" without one; None where nothing is known."""
        for value in (*self.proto.value_info, *self.proto.input, *self.proto.output):
            if value.name == tensor and value.type.tensor_type.HasField("shape"):
                return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim]
        return None

    def element_type(self, tensor: str) -> int:
        """The ONNX element type of an activation; 0 where it is unknown."""
        values = (*self.proto.value_info, *self.proto.input, *self.proto.output)
        return next((v.type.tensor_type.elem_type for v in values if v.name == tensor), 0)

    def copy_type(self, source: str, target: str) -> None:
        """Note for `target` the shape and type that are noted for `source`."""
        note = next((v for v in (*self.proto.value_info, *self.proto.input, *self.proto.output) if v.name == source), None)
        if note is not None:
            copy = self.proto.value_info.add()
            copy.CopyFrom(note)
            copy.name = target

    def new_name(self, wanted: str) -> str:
        """`wanted`, with a number behind it where a tensor of that name exists."""
        taken = set(self._producers) | set(self._constants) | {i.name for i in self.proto.input}
        name, number = wanted, 1
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def add_constant(self, wanted: str, value: np.ndarray) -> str:
        """A new initializer; returns its name."""
        name = self.new_name(wanted)
        self.proto.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        self._constants[name] = self.proto.initializer[-1]
        return name

    def replace(self, old: Iterable[NodeProto], new: Sequence[NodeProto]) -> None:
        """Put `new` where the last of `old` stands, and take out those of `old` whose results `new` gives.

        The others stay for their other readers; `drop_unused` takes them out where there are none.
        """
        made = {o for n in new for o in n.output}
        nodes, ids = list(self.proto.node), {id(n) for n in old}
        last = max(i for i, n in enumerate(nodes) if id(n) in ids)
        going = {id(n) for n in nodes if id(n) in ids and made.intersection(n.output)}
        kept = [*nodes[: last + 1], *new, *nodes[last + 1 :]]
        kept = [n for n in kept if id(n) not in going]
        copies = [NodeProto.FromString(n.SerializeToString()) for n in kept]
        del self.proto.node[:]
        self.proto.node.extend(copies)
        self.reindex()

    def rewire(self, old: str, new: str) -> None:
        """Every use of tensor `old` becomes a use of `new`."""
        for node in self.proto.node:
            _rename(node, old, new)
        self.reindex()

    def map_parameter(self, tensor: str, change: Callable[[np.ndarray], np.ndarray], rank: int | None = None) -> str | None:
        """The constant `tensor`, or Quant or DequantizeLinear of constants, with its values and scale changed; None where it is neither.

        `change` gets arrays of as many axes as the constant has (`rank`, if given; else None is returned), of a quantizer only
        those that are not scalar; the name of the new tensor is returned, a new quantizer is inserted beside the old one.
        """
        value = self.constant(tensor)
        node = self.producer(tensor, "Quant", "DequantizeLinear") if value is None else None
        values = [self.constant(i) for i in node.input] if node is not None else [value]
        if any(v is None for v in values) or rank not in (None, values[0].ndim):  # type: ignore[union-attr]
            return None
        if node is None:
            return self.add_constant(tensor, change(value))  # type: ignore[arg-type]
        axes, dequantize = values[0].ndim, node.op_type == "DequantizeLinear"  # type: ignore[union-attr]
        if any(v.ndim > (min(axes, 1) if dequantize else axes) for v in values[1:]):  # type: ignore[union-attr]
            return None  # the quantizer gives more axes than the constant has
        axis = int(attribute(node, "axis", 1)) if dequantize else -1  # type: ignore[call-overload]
        copy = NodeProto.FromString(node.SerializeToString())
        for position, v in enumerate(values):
            if v is None or (v.size == 1 and (position or v.ndim != axes)):
                continue
            if not dequantize or not position:
                changed = change(v.reshape((1,) * (axes - v.ndim) + v.shape))
            else:  # a vector along `axis`: its axis moves with it
                changed = change(v.reshape([-1 if a == axis % axes else 1 for a in range(axes)]))
                moved = next(a for a, n in enumerate(changed.shape) if n == v.size)
                set_attribute(copy, "axis", moved)
                changed = changed.ravel()
            copy.input[position] = self.add_constant(node.input[position], changed)
        copy.output[:] = [self.new_name(tensor)]
        copy.name = copy.output[0]
        position = [id(n) for n in self.proto.node].index(id(node))
        self.proto.node.insert(position, copy)
        self.reindex()
        return copy.output[0]

    def drop_unused(self) -> None:
        """Take out nodes whose results nobody uses, then initializers and shape notes that nothing names."""
        while True:
            used = {i for n in self.proto.node for i in reads(n)} | set(self.outputs)
            dead = [n for n in self.proto.node if not used & set(n.output)]
            if not dead:
                break
            for node in dead:
                self.proto.node.remove(node)
        live = used | {o for n in self.proto.node for o in n.output}
        for field in (self.proto.initializer, self.proto.value_info):
            kept = [x for x in field if x.name in live]
            del field[:]
            field.extend(kept)
        kept_notes = [a for a in self.proto.quantization_annotation if a.tensor_name in live]
        del self.proto.quantization_annotation[:]
        self.proto.quantization_annotation.extend(kept_notes)
        self.reindex()


class Rewrite(Transformation):
    """A pass that tries `rewrite` on every node until nothing changes; the docstring of a subclass is its equation."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        for node in list(graph.proto.node):
            if node.domain in MATCHED_DOMAINS and self.rewrite(graph, node):
                graph.drop_unused()
                return model, True
        return model, False

    def rewrite(self, graph: Graph, node: NodeProto) -> bool:
        """Rewrite around `node` if the pattern is there; True if the graph changed."""
        raise NotImplementedError


def reads(node: NodeProto) -> list[str]:
    """The tensors of the graph around a node that it uses: its inputs, and what its subgraphs take from outside."""
    names = list(node.input)
    for graph in _subgraphs(node):
        own = {i.name for i in (*graph.input, *graph.initializer)} | {o for n in graph.node for o in n.output}
        results = [o.name for o in graph.output]
        names += [i for i in (*(i for n in graph.node for i in reads(n)), *results) if i not in own]
    return names


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [g for a in node.attribute for g in ([a.g] if a.type == AttributeProto.GRAPH else a.graphs)]


def _rename(node: NodeProto, old: str, new: str) -> None:
    node.input[:] = [new if i == old else i for i in node.input]
    for graph in _subgraphs(node):
        for inner in graph.node:  # names of a graph and its subgraphs are all different
            _rename(inner, old, new)


def _is_one_of(node: NodeProto, op_types: Sequence[str]) -> bool:
    return not op_types or (node.op_type in op_types and node.domain in MATCHED_DOMAINS)


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """An attribute's value, or `default` where the node has none of that name; strings as str."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def set_attribute(node: NodeProto, name: str, value: int) -> None:
    """Set an integer attribute of a node."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def free_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs of a graph that are no constants with a name of their own (which some exporters list as well)."""
    constants = {i.name for i in model.graph.initializer}
    return [i for i in model.graph.input if i.name not in constants]


def get_metadata(model: ModelProto, key: str) -> str | None:
    """The value of a key in the model's metadata (what onnxruntime shows as custom metadata), or None."""
    return next((p.value for p in model.metadata_props if p.key == key), None)


def set_metadata(model: ModelProto, key: str, value: str) -> None:
    """Write a key of the model's metadata."""
    found = next((p for p in model.metadata_props if p.key == key), None)
    if found is None:
        found = model.metadata_props.add()
        found.key = key
    found.value = value


def log2_exact(value: np.ndarray | float, what: str) -> np.ndarray:
    """Exponents of powers of two; a refusal that says `what` where a value is none."""
    mantissa, exponent = np.frexp(np.asarray(value, np.float64))
    if not np.all(mantissa == 0.5):
        bad = np.asarray(value, np.float64)[mantissa != 0.5].ravel()[0]
        raise PassRefusal(f"{what}: {bad.item()!r} is no power of two; train with power-of-two scales")
    return exponent - 1
