"""Tables of knots in place of full ones, as commands and builds make them: calibrated on training images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import Tables
from pipelines.console import UserError, progress
from pipelines.evaluate import BATCH, open_onnx, predict

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Training images uint8 [n, 32, 32, 3] and their classes [n]; no test image ever serves to make a table."""

    images: np.ndarray
    labels: np.ndarray


def calibration(data: Path | None, tables: Tables) -> Calibration | None:
    """The first training images; None, with a warning, where there are none and `tables` can do without."""
    from train.data import DataAbsent, load_cifar10

    if tables.method == "refine" and tables.worst is not None:
        raise UserError(f"worst {tables.worst} bounds every entry and method refine moves all knots together; "
                        "choose method fit, or leave worst out")  # fmt: skip
    if tables.method == "subsample" and tables.loss is None:
        return None
    try:
        cifar = load_cifar10(data)
    except DataAbsent as absent:
        if tables.method == "refine" or tables.loss is not None:
            what = "method refine" if tables.method == "refine" else "a bound on the loss"
            raise UserError(f"{what} needs training images: {absent}") from None
        log.warning("%s; all codes count alike", absent)
        return None
    return Calibration(cifar.x_train[: tables.images], cifar.y_train[: tables.images])


@dataclass(frozen=True)
class Smaller:
    """A model with tables of knots, the one with full tables that it was made from, and how often that one's codes occur."""

    full: ModelProto
    model: ModelProto
    counts: dict[str, np.ndarray] | None


def smaller(integer: ModelProto, tables: Tables, images: Calibration | None) -> Smaller:
    """All that `tables` asks for: finer codes where the method wants them, then knots."""
    full = finer(integer, tables, images)
    counts = None if images is None else code_counts(full, images.images)
    return Smaller(full, compressed(full, tables, images, counts), counts)


def finer(integer: ModelProto, tables: Tables, images: Calibration | None) -> ModelProto:
    """The model that `compressed` compresses: with method refine one whose codes fill its tables, else the one given.

    Its tables are full, and it answers as the one given but for the rounding of codes (`passes.widen_codes`).
    """
    from qonnx.core.modelwrapper import ModelWrapper

    from passes.check_accumulators import CheckAccumulators
    from passes.widen_codes import WidenCodes

    if tables.method != "refine":
        return integer
    assert images is not None
    wrapper = ModelWrapper(integer, make_deepcopy=True)
    for step in (WidenCodes(code_counts(integer, images.images)), CheckAccumulators()):
        wrapper = wrapper.transform(step, make_deepcopy=False, cleanup=False)
    return wrapper.model


def compressed(integer: ModelProto, tables: Tables, images: Calibration | None, counts: dict[str, np.ndarray] | None) -> ModelProto:
    """The integer model, as `finer` gives it, with tables of knots; the model given stays as it is.

    `counts` are its `code_counts`. Not exact: `passes.table_errors` says by how much.
    """
    from qonnx.core.modelwrapper import ModelWrapper

    from passes.annotate import AnnotateDatatypes, InferShapes
    from passes.compress_lut import CompressLUT
    from passes.refine_knots import RefineKnots

    accurate = None
    if tables.loss is not None:
        assert images is not None
        least = top1(integer, images) - tables.loss

        def accurate(model: ModelProto) -> bool:
            return top1(model, images) >= least

    method = "subsample" if tables.method == "subsample" else "fit"
    wrapper = ModelWrapper(integer, make_deepcopy=True)
    small = CompressLUT(tables.every, method=method, worst=tables.worst, counts=counts, accurate=accurate)
    wrapper = wrapper.transform(small, make_deepcopy=False, cleanup=False)
    if tables.method == "refine":
        assert images is not None
        classes = answers_of(integer, images.images[:1]).shape[1]
        with progress(tables.steps, "refine", "step") as bar:
            refine = RefineKnots(integer, _batches(images, classes), steps=tables.steps, tell=bar.update)
            wrapper = wrapper.transform(refine, make_deepcopy=False, cleanup=False)
    for note in (InferShapes(), AnnotateDatatypes()):
        wrapper = wrapper.transform(note, make_deepcopy=False, cleanup=False)
    return wrapper.model


def _batches(images: Calibration, classes: int, batch: int = 64) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches of images and their classes, float [n, classes]; all shifted and flipped, half of them as training saw them.

    RandAugment everywhere would fit the knots to codes that real images seldom give, and nowhere to the training images.
    """
    import torch

    from train.augment import augment

    draw = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(images.images), generator=draw).numpy()
        for start in range(0, max(len(order) - batch + 1, 1), batch):
            chosen = order[start : start + batch]
            plain, hard = torch.from_numpy(images.images[chosen]).tensor_split(2)
            moved = torch.cat([augment(plain, draw, randaugment=False), augment(hard, draw)]).numpy()
            yield moved, np.eye(classes)[images.labels[chosen]]


def code_counts(model: ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """How often each code reaches each channel of each compressible table: int64 [C, 256] by the table's output."""
    from qonnx.core.modelwrapper import ModelWrapper

    from custom_ops.runtime import session
    from passes.compress_lut import compressible
    from passes.graph import Graph

    graph = Graph(ModelWrapper(model))
    inner = [n for n in graph.proto.node if compressible(graph, n) is not None and graph.producer(n.input[0]) is not None]
    if not inner:
        return {}
    run = session(model, outputs=list(dict.fromkeys(n.input[0] for n in inner)))
    name, names = run.get_inputs()[0].name, [o.name for o in run.get_outputs()]
    counts = {n.output[0]: np.zeros((graph.shape(n.input[0])[-1], 256), np.int64) for n in inner}
    with progress(len(images), "codes", "image") as bar:
        for start in range(0, len(images), BATCH):
            values = dict(zip(names, run.run(None, {name: images[start : start + BATCH]}), strict=True))
            for node in inner:
                counts[node.output[0]] += _histogram(values[node.input[0]])
            bar.update(len(images[start : start + BATCH]))
    return counts


def _histogram(codes: np.ndarray) -> np.ndarray:
    """codes int8 [..., C] -> int64 [C, 256]."""
    channels = codes.shape[-1]
    places = codes.reshape(-1, channels).astype(np.int64) + 128 + 256 * np.arange(channels)
    return np.bincount(places.ravel(), minlength=256 * channels).reshape(channels, 256)


def answers_of(model: ModelProto, images: np.ndarray) -> np.ndarray:
    """Float64 logits [n, classes] of a model in memory, at their scale."""
    from passes.check import logits_scale

    return predict(open_onnx(Path("model"), model=model).run, images).astype(np.float64) * logits_scale(model)


def top1(model: ModelProto, images: Calibration) -> float:
    """Percent of the images whose class a model in memory finds."""
    return 100.0 * float((answers_of(model, images.images).argmax(1) == images.labels).mean())
