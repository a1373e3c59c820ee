"""What a pipeline runs a model on: CIFAR-10's test images, inputs of the model's own kind, or seeded random ones."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.console import UserError
from train.data import DataAbsent, load_cifar10

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

log = logging.getLogger(__name__)
RANDOM_IMAGES = 256
IMAGE = (32, 32, 3)
KINDS = (np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.int8))


@dataclass(frozen=True)
class TestImages:
    """uint8 images [n, 32, 32, 3], or what else a model takes, and their classes [n]; `labels` is None where there are none."""

    __test__ = False  # no test case

    images: np.ndarray
    labels: np.ndarray | None

    @property
    def real(self) -> bool:
        return self.labels is not None


def check_input(source: Path, inputs: Sequence[tuple[str, str, Sequence]]) -> str:
    """The name of a model's one input, if it takes these images; UserError otherwise. inputs: (name, type, shape)."""
    sizes = [list(shape[1:]) for _, _, shape in inputs]
    if len(inputs) != 1 or inputs[0][1] != "uint8" or sizes != [list(IMAGE)]:
        found = ", ".join(f"{name} {kind} [N, {', '.join(map(str, size))}]" for (name, kind, _), size in zip(inputs, sizes, strict=True))
        raise UserError(f"{source}: takes {found}, not uint8 pixels [N, {', '.join(map(str, IMAGE))}]; name its inputs with --inputs X.npz")
    if isinstance(inputs[0][2][0], int):
        raise UserError(f"{source}: takes batches of {inputs[0][2][0]} only; export it with a dynamic batch N")
    return inputs[0][0]


def test_images(data: Path | None, seed: int) -> TestImages:
    """All test images; random ones, with a warning, where no data was named and none can be downloaded."""
    try:
        cifar = load_cifar10(data)
    except DataAbsent as absent:
        log.warning("%s; going on with %d seeded random images, accuracy is not measured", absent, RANDOM_IMAGES)
        return TestImages(np.random.default_rng(seed).integers(0, 256, (RANDOM_IMAGES, 32, 32, 3), np.uint8), None)
    return TestImages(cifar.x_test, cifar.y_test)


test_images.__test__ = False  # type: ignore[attr-defined]


def takes_pixels(source: Path, model: ModelProto) -> bool:
    """Whether a model's one input is uint8 [N, 32, 32, 3]."""
    kind, shape = input_of(source, model)
    return kind == np.uint8 and tuple(shape) == IMAGE


def input_of(source: Path | str, model: ModelProto) -> tuple[np.dtype, list[int]]:
    """(type, shape of one) of what a model takes; UserError unless it is one tensor of known shape with a dynamic batch."""
    from onnx.helper import tensor_dtype_to_np_dtype

    from passes.graph import free_inputs

    values = free_inputs(model)
    described = ", ".join(f"{v.name} {v.type.tensor_type.elem_type and tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)} "
                          f"{[d.dim_value or d.dim_param or '?' for d in v.type.tensor_type.shape.dim]}" for v in values)  # fmt: skip
    if len(values) != 1:
        raise UserError(f"{source}: takes {len(values)} inputs ({described}); supported is one")
    dims = values[0].type.tensor_type.shape.dim
    kind = np.dtype(tensor_dtype_to_np_dtype(values[0].type.tensor_type.elem_type))
    if kind not in KINDS:
        raise UserError(f"{source}: takes {described}; supported are {', '.join(map(str, KINDS))}")
    if not dims or any(not d.dim_value for d in dims[1:]):
        raise UserError(f"{source}: takes {described}; supported is a dynamic batch of tensors of known shape")
    if dims[0].dim_value:
        raise UserError(f"{source}: takes batches of {dims[0].dim_value} only; export it with a dynamic batch N")
    return kind, [d.dim_value for d in dims[1:]]


def read_inputs(path: Path, source: Path, model: ModelProto) -> TestImages:
    """x [n, ...] and, if it is there, y [n] from an .npz; UserError where they do not fit `model`."""
    kind, shape = input_of(source, model)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in ("x", "y") if name in arrays}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; --inputs takes an .npz with x, and y for top-1") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        raise UserError(f"{path}: not a readable .npz; --inputs takes one with x, and y for top-1") from None
    x, y = held.get("x"), held.get("y")
    if x is None or list(x.shape[1:]) != shape or not len(x) or x.dtype != kind:
        found = "no x" if x is None else f"x {x.dtype} {list(x.shape)}"
        raise UserError(f"{path}: {found}; {source} takes {kind} [n, {', '.join(map(str, shape))}]")
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
        raise UserError(f"{path}: y {y.dtype} {list(y.shape)}; it must hold the class of each of the {len(x)} inputs")
    return TestImages(x, y)


def random_inputs(source: Path | str, model: ModelProto, count: int, seed: int) -> np.ndarray:
    """Seeded random inputs of a model's own kind: all codes of integers; floats over the first quantizer's range and a fifth beyond."""
    kind, shape = input_of(source, model)
    rng = np.random.default_rng(seed)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, (count, *shape), kind, endpoint=True)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32) * np.float32(1.2 * 128 * _first_scale(model))


def _first_scale(model: ModelProto) -> float:
    """Of the first quantizer of an activation; 1/32 where it has no constant one."""
    from qonnx.core.modelwrapper import ModelWrapper

    from passes.graph import Graph

    graph = Graph(ModelWrapper(model))
    for node in graph.proto.node:
        if node.op_type in ("QuantizeLinear", "Quant", "IntQuant") and graph.constant(node.input[0]) is None:
            scale = graph.constant(node.input[1])
            return float(scale.ravel()[0]) if scale is not None else 1 / 32
    return 1 / 32


def inputs_for(source: Path, model: ModelProto, data: Path | None, inputs: Path | None, seed: int) -> TestImages:
    """What to run `model` on: the arrays in `inputs`, test images where it takes pixels, else random inputs of its own kind.

    UserError for a model of images of another size, whose inputs were not named.
    """
    from passes.graph import free_inputs

    if inputs is not None:
        return read_inputs(inputs, source, model)
    if takes_pixels(source, model):
        return test_images(data, seed)
    kind, shape = input_of(source, model)
    if kind == np.uint8 and len(shape) == len(IMAGE):  # images, but of another size
        check_input(source, [(free_inputs(model)[0].name, str(kind), ["N", *shape])])
    log.warning("%s takes %s %s, not pixels: going on with %d seeded random inputs, accuracy is not measured (--inputs X.npz names others)",
                source.name, kind, ["N", *shape], RANDOM_IMAGES)  # fmt: skip
    return TestImages(random_inputs(source, model, RANDOM_IMAGES, seed), None)
