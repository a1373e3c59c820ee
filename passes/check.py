"""Running passes under guard: the model is run before and after each one, and a pass that changes an answer is named."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto
from onnx.shape_inference import InferenceError
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from custom_ops import OpError, add_functions
from custom_ops.load import ModelError, check_model
from custom_ops.runtime import ORT_ERRORS, session
from passes.explain import rounded_otherwise
from passes.function_to_lut import BOUNDARY_ENTRIES
from passes.graph import PassRefusal, free_inputs, get_metadata
from passes.logits_to_integer import SCALE
from passes.scaling import ERRORS, errors_of

log = logging.getLogger(__name__)


class PassError(ValueError):
    """A pass refused a graph or changed an answer; the message is one line for the user and begins with the pass."""


@dataclass(frozen=True)
class PassRecord:
    """What one pass did."""

    name: str
    stage: str
    mismatches: int  # logits that differ from those before the pass, and that no rounding of scales explains
    nodes: int  # in the graph after it
    seconds: float
    rounded: int = 0  # codes on the other side of a rounding boundary, where scales are no powers of two; each within its bound


def logits_scale(model: ModelProto | Path) -> float:
    """What one unit of a stage's logits is worth: from the metadata of a model or file, 1 where there is none."""
    proto = model if isinstance(model, ModelProto) else onnx.load(model, load_external_data=False)
    text = get_metadata(proto, SCALE)
    if text is None:
        return 1.0
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise PassError(f"metadata {SCALE}={text[:40]!r} is no positive number; leave it out of the model")
    return scale


def prepared(model: ModelProto) -> ModelProto:
    """A checked copy of a model, ready for the passes: one input, one output, only notes that are ours. Raises PassError or ModelError."""
    copy = ModelProto()
    copy.CopyFrom(model)
    check_model(copy)
    if len(free_inputs(copy)) != 1 or len(copy.graph.output) != 1:
        raise PassError(f"a model of {len(free_inputs(copy))} inputs and {len(copy.graph.output)} outputs; supported is one of each")
    if copy.graph.output[0].type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE):
        for entry in [p for p in copy.metadata_props if p.key in (SCALE, ERRORS, BOUNDARY_ENTRIES)]:
            copy.metadata_props.remove(entry)  # what the passes note about integers; float logits are worth what they are
    logits_scale(copy)
    try:
        errors_of(copy)
    except PassRefusal as refusal:
        raise PassError(str(refusal)) from None
    entries = get_metadata(copy, BOUNDARY_ENTRIES)
    if entries is not None and not (entries.isascii() and entries.isdigit()):
        raise PassError(f"metadata {BOUNDARY_ENTRIES}={entries[:40]!r} is no number; leave it out of the model")
    return copy


def logits(model: ModelProto, images: np.ndarray) -> np.ndarray:
    """Float64 logits [n, classes] of images (or whatever the model takes), in plain onnxruntime, multiplied by the model's logits scale."""
    name = free_inputs(model)[0].name
    out = session(model, kernels=False).run(None, {name: images})[0]
    if out.shape[:1] != (len(images),):
        raise ModelError(f"gives {list(out.shape)} for {len(images)} inputs; supported is one row for each, with a dynamic batch")
    return out.reshape(len(images), -1).astype(np.float64) * logits_scale(model)


def transformed(model: ModelWrapper, step: Transformation) -> ModelWrapper:
    """`model` after one pass, changed in place, with the bodies that it needs; PassError where it refuses or leaves a broken graph."""
    name = type(step).__name__
    try:
        model = model.transform(step, make_deepcopy=False, cleanup=False)
        add_functions(model.model)
    except PassRefusal as refusal:
        raise PassError(f"{name}: {refusal}") from None
    except (OpError, ModelError, InferenceError, *ORT_ERRORS) as error:
        raise PassError(f"{name}: leaves a graph that does not run: {' '.join(str(error).split())}") from error
    return model


class CheckedPasses:
    """Applies passes to a model one by one and compares its answers on `images` (uint8 [n, H, W, 3], or what it takes) around each.

    A pass that rounds a ratio of scales notes how far each tensor may be off (`passes.scaling`); behind it, every layer is compared by
    itself within that bound (`passes.explain`), and from there on the answers are compared with its own.
    """

    def __init__(self, model: ModelProto, images: np.ndarray, *, tell: Callable[[str], None] | None = None) -> None:
        copy = prepared(model)
        self.wrapper = ModelWrapper(copy)
        self.images = images
        self.records: list[PassRecord] = []
        self._tell = tell or (lambda _: None)
        try:
            self._expected = logits(copy, images)
        except (ModelError, *ORT_ERRORS) as error:
            raise PassError(f"the model to begin with does not run: {' '.join(str(error).split())}") from None
        if not np.isfinite(self._expected).all():
            raise PassError(f"the model to begin with gives NaN or infinity on {len(images)} inputs; train it again")

    @property
    def expected(self) -> np.ndarray:
        """Float64 logits [n, classes] that the next pass must not change."""
        return self._expected

    def run(self, stage: str, passes: Sequence[Transformation]) -> ModelProto:
        """The model after `passes`; PassError where one refuses or changes an answer."""
        for step in passes:
            name = type(step).__name__
            self._tell(name)
            started = time.perf_counter()
            before = self.wrapper.model.SerializeToString(deterministic=True)
            self.wrapper = transformed(self.wrapper, step)
            try:
                changed = self.wrapper.model.SerializeToString(deterministic=True) != before
                mismatches, rounded = self._compare(before) if changed else (0, 0)
            except PassRefusal as refusal:
                raise PassError(f"{name}: {refusal}") from None
            except (OpError, ModelError, InferenceError, *ORT_ERRORS) as error:
                raise PassError(f"{name}: leaves a graph that does not run: {' '.join(str(error).split())}") from error
            self.records.append(PassRecord(name, stage, mismatches, len(self.wrapper.graph.node), time.perf_counter() - started, rounded))
            if mismatches:
                raise PassError(f"{name}: changed {mismatches} of {self._expected.size} logits on {len(self.images)} images; "
                                f"stopped in stage {stage!r}, the graph before it is the last good one")  # fmt: skip
            log.info("%s: %d nodes%s", name, len(self.wrapper.graph.node), "" if changed else ", nothing to do")
        return self.wrapper.model

    def _compare(self, before: bytes) -> tuple[int, int]:
        """(logits that differ and must not, codes that a rounded scale sends to the other side of a boundary)."""
        model = self.wrapper.model
        given = logits(model, self.images)
        if given.shape != self._expected.shape:
            raise ModelError(f"logits of shape {list(given.shape)} instead of {list(self._expected.shape)}")
        old = ModelProto.FromString(before)
        noted = errors_of(model)
        bounds = {tensor: noted[tensor] for tensor in noted.keys() - errors_of(old).keys()}
        if not bounds:
            return int((given != self._expected).sum()), 0
        rounded = rounded_otherwise(old, model, bounds, self.images)
        self._expected = given
        return 0, rounded
