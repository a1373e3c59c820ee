"""Knots moved together, so that the whole network answers as it did with full tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import add_functions
from custom_ops.channel_lut import FULL
from custom_ops.runtime import session
from passes.check import logits_scale
from passes.graph import Graph
from passes.straight_through import StraightThrough

log = logging.getLogger(__name__)
MOMENTUM, MEMORY = 0.9, 0.99  # of Adam (Kingma & Ba, 2015)
RARE = 0.1  # share of a table's gradient below which a knot's step shrinks with its gradient: knots that hardly count stay in place
TINY = 1e-12


class RefineKnots(Transformation):
    """ChannelLUT(x, knots) -> ChannelLUT(x, knots'), all tables at once, for the whole network's answers; int8 knots as before.

    Minimises the cross entropy from the probabilities that the first `steps` of `batches` want (images uint8 [n, ...], float
    [n, classes]) to those of the compressed network: Adam on float knots, which are rounded in every step, by straight-through
    gradients; the rate, in codes a step, falls from `rate` to 0 as a half cosine. The probabilities of the network with full
    tables hold its answers (then this is the Kullback-Leibler divergence); classes mixed in gain on it. Full tables, and those
    between pixels and codes, stay as they are. ValueError where `batches` end early or a batch has more or fewer rows of
    probabilities than images.
    """

    def __init__(self, batches: Iterable[tuple[np.ndarray, np.ndarray]], *, steps: int, rate: float = 0.03,
                 tell: Callable[[], object] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.batches, self.steps, self.rate, self.tell = batches, steps, rate, tell or (lambda: None)

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
        through = StraightThrough(graph, luts)
        pixels, logits = graph.proto.input[0].name, graph.outputs[0]
        run = session(_with_tables_as_inputs(graph, luts), outputs="all")
        names, scale = [o.name for o in run.get_outputs()], logits_scale(graph.model.model)
        tables = {n.input[1]: graph.constant(n.input[1]) for n in luts}
        position = {n.output[0]: np.asarray(tables[n.input[1]], np.float64) for n in luts}
        mean = {name: np.zeros_like(value) for name, value in position.items()}
        square = {name: np.zeros_like(value) for name, value in position.items()}
        done = 0
        for step, (images, wanted) in enumerate(islice(self.batches, self.steps)):
            if len(images) != len(wanted) or not len(images):
                raise ValueError(f"{len(images)} images and {len(wanted)} answers; give one answer for each of at least one image")
            feed = {pixels: images, **tables}
            values = dict(zip(names, run.run(None, feed), strict=True)) | feed
            given = softmax(values[logits].reshape(len(images), -1) * scale)
            wrong = (given - wanted) * (scale / len(images))
            slopes = through.gradients(values, logits, wrong.reshape(values[logits].shape))
            rate = self.rate * 0.5 * (1 + np.cos(np.pi * step / self.steps))
            for lut in luts:
                name = lut.output[0]
                slope = slopes.get(name)
                if slope is None:
                    continue  # nothing that counts reads it
                mean[name] = MOMENTUM * mean[name] + (1 - MOMENTUM) * slope
                square[name] = MEMORY * square[name] + (1 - MEMORY) * slope**2
                first, second = mean[name] / (1 - MOMENTUM ** (step + 1)), square[name] / (1 - MEMORY ** (step + 1))
                root = np.sqrt(second)
                position[name] = np.clip(position[name] - rate * first / (root + RARE * np.sqrt(second.mean()) + TINY), -128, 127)
                tables[lut.input[1]] = np.rint(position[name]).astype(np.int8)
            done = step + 1
            self.tell()
        if done < self.steps:
            raise ValueError(f"{done} batches for {self.steps} steps; give one for each step")
        return {n.output[0]: np.rint(position[n.output[0]]).astype(np.int8) for n in luts}


def _knots(graph: Graph, lut: NodeProto) -> np.ndarray | None:
    """The knots of a node, if it has them as a constant."""
    table = graph.constant(lut.input[1])
    return table if table is not None and table.shape[1] != FULL else None


def _with_tables_as_inputs(graph: Graph, luts: list[NodeProto]) -> ModelProto:
    model = ModelProto()
    model.CopyFrom(graph.model.model)
    names = {n.input[1] for n in luts}
    kept = [i for i in model.graph.initializer if i.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name in sorted(names):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT8, graph.shape(name)))
    return add_functions(model)


def softmax(logits: np.ndarray) -> np.ndarray:
    """float64 [n, classes]: probabilities."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
