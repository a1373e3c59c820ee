"""Knots trained together, so that the whole network answers as it did with full tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import add_functions
from custom_ops.channel_lut import FULL
from custom_ops.runtime import session
from passes.check import logits_scale
from passes.cut_tensors import cut_tensors
from passes.float_products import FloatProducts
from passes.graph import Graph
from passes.straight_through import StraightThrough

log = logging.getLogger(__name__)
MOMENTUM, MEMORY = 0.9, 0.99  # of Adam (Kingma & Ba, 2015)
RARE = 0.1  # share of a table's gradient below which a knot's step shrinks with its gradient: knots that hardly count stay in place
TINY = 1e-12
FLOOR = 1e-6  # a term of the loss that is smaller counts as if it were this large
WARM_UP = 50  # steps


class RefineKnots(Transformation):
    """ChannelLUT(x, knots) -> ChannelLUT(x, knots'), all tables at once, for the whole network's answers; int8 knots as before.

    Minimises, over the first `steps` of `batches` (images uint8 [n, ...], what they should be answered, float [n, classes]),

        sum over cut tensors t of E_t / |E_t|  +  (KL(p || q) + `label` * H(wanted, q)) / |KL(p || q)|

    where p are the probabilities that `reference` gives, the same network with full tables, and q those of this one; E_t is the
    mean squared difference of their codes where the network is one tensor wide (`passes.cut_tensors`), and |.| is the moving
    average of a term, as a constant: each term counts by its relative change, so that none needs a weight. The tensors inside tell
    more of each image than the logits, and do not tempt to learn images by heart; `wanted` makes up for what no knots can express.
    Adam on float knots, which are rounded in every step, by straight-through gradients; the rate, in codes a step, rises to `rate`
    over `WARM_UP` steps and falls to 0 as a half cosine. Full tables, and those between pixels and codes, stay as they are.
    ValueError where `batches` end early or a batch has more or fewer rows of answers than images.
    """

    def __init__(self, reference: ModelProto, batches: Iterable[tuple[np.ndarray, np.ndarray]], *, steps: int, rate: float = 0.2,
                 label: float = 1.0, tell: Callable[[], object] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.reference, self.batches, self.steps = reference, batches, steps
        self.rate, self.label, self.tell = rate, label, tell or (lambda: None)

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        graph = Graph(model)
        luts = [n for n in graph.proto.node if n.op_type == "ChannelLUT" and _knots(graph, n) is not None]
        if not luts:
            return model, False
        for lut in luts:  # two nodes with one table become two tables
            table = graph.constant(lut.input[1])
            assert table is not None
            if len(graph.consumers(lut.input[1])) > 1:
                lut.input[1] = graph.add_constant(f"{lut.output[0]}_knots", table)
                graph.reindex()
        for name, knots in self._refined(graph, luts).items():
            lut = graph.producer(name)
            assert lut is not None
            lut.input[1] = graph.add_constant(lut.input[1], knots)
        graph.drop_unused()
        return model, False

    def _refined(self, graph: Graph, luts: list[NodeProto]) -> dict[str, np.ndarray]:
        """Output of each table's node -> its new knots."""
        through, loss = StraightThrough(graph, luts), _Loss(graph, luts, self.reference, self.label)
        computed, pixels = [t for n in graph.proto.node for t in n.output], graph.proto.input[0].name
        run = session(_quick(_with_tables_as_inputs(graph, luts)), outputs=computed)
        knots = {n.output[0]: _Knots(graph.constant(n.input[1])) for n in luts}
        done = 0
        for step, (images, wanted) in enumerate(islice(self.batches, self.steps)):
            if len(images) != len(wanted) or not len(images):
                raise ValueError(f"{len(images)} images and {len(wanted)} answers; give one answer for each of at least one image")
            feed = {pixels: images} | {n.input[1]: knots[n.output[0]].codes() for n in luts}
            values = dict(zip(computed, run.run(None, feed), strict=True)) | feed
            rate = self.rate * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * step / self.steps))
            for name, slope in through.gradients(values, loss.slopes(values, images, wanted)).items():
                knots[name].move(slope, rate)
            done = step + 1
            self.tell()
        if done < self.steps:
            raise ValueError(f"{done} batches for {self.steps} steps; give one for each step")
        return {name: k.codes() for name, k in knots.items()}


class _Loss:
    """The derivative of the loss by the logits and by the cut tensors."""

    def __init__(self, graph: Graph, luts: list[NodeProto], reference: ModelProto, label: float) -> None:
        behind = StraightThrough(graph, luts).dependent
        self.logits, self.label, self.scale = graph.outputs[0], label, logits_scale(graph.model.model)
        self.cuts = [t for t in cut_tensors(graph) if t in behind and graph.producer(t, "Requant", "ChannelLUT")]
        self.input = graph.proto.input[0].name
        self.run = session(_quick(reference), outputs=list(dict.fromkeys([*self.cuts, self.logits])))
        self.average: dict[str, float] = {}

    def slopes(self, values: Mapping[str, np.ndarray], images: np.ndarray, wanted: np.ndarray) -> dict[str, np.ndarray]:
        """By tensor, of its shape; `values` are those of the network with knots."""
        given = dict(zip([o.name for o in self.run.get_outputs()], self.run.run(None, {self.input: images}), strict=True))
        found = {}
        for tensor in self.cuts:
            off = values[tensor].astype(np.float32) - given[tensor]
            found[tensor] = off * (2 / off.size / self._size(tensor, float(np.mean(off * off))))
        p, q = (softmax(v[self.logits].reshape(len(images), -1) * self.scale) for v in (given, values))
        divergence = float((p * np.log((p + TINY) / (q + TINY))).sum(1).mean())
        slope = (q - p + self.label * (q - wanted)) * (self.scale / len(images) / self._size("", divergence))
        found[self.logits] = found.get(self.logits, 0) + slope.reshape(values[self.logits].shape)
        return found

    def _size(self, term: str, value: float) -> float:
        old = self.average.get(term, value)
        self.average[term] = MOMENTUM * old + (1 - MOMENTUM) * value
        return max(self.average[term], FLOOR)


class _Knots:
    """A table's knots as float positions, and Adam's memory of their gradients."""

    def __init__(self, start: np.ndarray | None) -> None:
        self.position = np.asarray(start, np.float64)
        self.mean, self.square, self.steps = np.zeros_like(self.position), np.zeros_like(self.position), 0

    def codes(self) -> np.ndarray:
        return np.rint(self.position).astype(np.int8)

    def move(self, slope: np.ndarray, rate: float) -> None:
        self.steps += 1
        self.mean = MOMENTUM * self.mean + (1 - MOMENTUM) * slope
        self.square = MEMORY * self.square + (1 - MEMORY) * slope**2
        first, second = self.mean / (1 - MOMENTUM**self.steps), self.square / (1 - MEMORY**self.steps)
        step = rate * first / (np.sqrt(second) + RARE * np.sqrt(second.mean()) + TINY)
        self.position = np.clip(self.position - step, -128, 127)


def _knots(graph: Graph, lut: NodeProto) -> np.ndarray | None:
    """The knots of a node, if it has them as a constant."""
    table = graph.constant(lut.input[1])
    return table if table is not None and table.shape[1] != FULL else None


def _with_tables_as_inputs(graph: Graph, luts: list[NodeProto]) -> ModelProto:
    model = ModelProto()
    model.CopyFrom(graph.model.model)
    names = {n.input[1] for n in luts}
    for notes in (model.graph.initializer, model.graph.value_info):
        kept = [note for note in notes if note.name not in names]  # type: ignore[attr-defined]
        del notes[:]
        notes.extend(kept)  # type: ignore[arg-type]
    for name in sorted(names):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT8, graph.shape(name)))
    return model


def _quick(model: ModelProto) -> ModelProto:
    return add_functions(ModelWrapper(model, make_deepcopy=True).transform(FloatProducts(), make_deepcopy=False, cleanup=False).model)


def softmax(logits: np.ndarray) -> np.ndarray:
    """float64 [n, classes]: probabilities."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
