"""2,000 damaged models: a clear error in one line or an equal answer each time; never another exception, a crash, or a wrong answer."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto
from qonnx.core.modelwrapper import ModelWrapper

from custom_ops.load import ModelError, check_model, parse
from passes import INTEGER, STREAMLINE, TIDY
from passes.check import CheckedPasses, PassError, logits, prepared, transformed
from passes.scaling import errors_of
from tests.passes import foreign
from tests.passes.mutants import MUTATIONS, mutant

EACH = 200  # mutants of a base
INPUTS = 8
CLOSE = 1e-3  # of the largest logit: float32 sums in another order


def lowered(model: ModelProto, stages: tuple) -> ModelProto:
    wrapper = ModelWrapper(model, make_deepcopy=True)
    for stage in stages:
        for step in stage:
            wrapper = transformed(wrapper, step)
    return wrapper.model


@functools.cache
def tiny_psa() -> ModelProto:
    """One block of LERP-PSA, 4 channels, on images of 8 x 8."""
    import torch

    from tests.conftest import random_images
    from train.export import export_onnx
    from train.quantized import calibrate, quantize
    from train.resmlp import Architecture, ResMLP, absorb

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ResMLP(Architecture(activation="lerp_psa", embed=4, hidden=4, blocks=1, image=8, patch=4, grid=16))
    images = np.ascontiguousarray(random_images(80, seed=0)[:, ::4, ::4])
    model.train()
    with torch.no_grad():
        model(torch.from_numpy(images))
    quantized = quantize(absorb(model.eval()))
    calibrate(quantized, images, seed=0, batch=16)
    return export_onnx(quantized)


def upto(model: ModelProto, *stages: tuple) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return lowered(check_model(copy), stages)


BASES: dict[str, Callable[[], ModelProto]] = {
    "psa, exported": tiny_psa,
    "psa, streamlined": lambda: upto(tiny_psa(), TIDY, STREAMLINE),
    "psa, integer": lambda: upto(tiny_psa(), TIDY, STREAMLINE, INTEGER),
    "brevitas mlp, QONNX": foreign.brevitas_mlp,
    "brevitas mlp, tidy": lambda: upto(foreign.brevitas_mlp(), TIDY),
    "brevitas GELU, QCDQ of opset 13": lambda: foreign.gelu_qcdq(13),
    "brevitas mixer, QONNX": lambda: foreign.mixer(True),
    "brevitas mixer, float scales, integer": lambda: upto(foreign.mixer(False), TIDY, STREAMLINE, INTEGER),
    "onnxruntime": foreign.onnxruntime_mlp,
    "onnxruntime, integer": lambda: upto(foreign.onnxruntime_mlp(), TIDY, STREAMLINE, INTEGER),
}  # fmt: skip


def feeds(model: ModelProto) -> np.ndarray:
    """Inputs for a base: all its codes and beyond."""
    value = model.graph.input[0].type.tensor_type
    if value.elem_type == 2:
        return np.random.default_rng(3).integers(0, 256, (INPUTS, *(d.dim_value for d in value.shape.dim[1:])), np.uint8)
    return foreign.inputs(model, INPUTS, 3)


def outcome(content: bytes, x: np.ndarray) -> tuple[str, str]:
    """("refused" or "equal", the line) of one damaged file; AssertionError for a wrong answer."""
    try:
        model = prepared(parse(content, "mutant.onnx"))
        before = CheckedPasses(model, x).expected  # in plain onnxruntime
        result = lowered(model, (TIDY, STREAMLINE, INTEGER))
        after = logits(result, x)
    except (ModelError, PassError) as refusal:
        line = str(refusal)
        assert line and "\n" not in line and "Traceback" not in line, line
        return "refused", line
    if errors_of(result):
        if not (after.shape == before.shape and np.abs(after - before).max() <= CLOSE * max(1.0, np.abs(before).max())):
            CheckedPasses(model, x).run("all", (*TIDY, *STREAMLINE, *INTEGER))  # each layer by itself, within its bound
    else:
        assert after.shape == before.shape and (after == before).all(), f"{(after != before).sum()} of {after.size} logits"
    return "equal", ""


@pytest.mark.parametrize("base", BASES)
def test_a_damaged_model_is_refused_in_one_line_or_answers_the_same(base: str, record_property: Callable[[str, object], None]) -> None:
    model = BASES[base]()
    original, x = model.SerializeToString(), feeds(model)
    assert outcome(original, x) == ("equal", "")
    count: Counter[str] = Counter()
    wrong = []
    for seed in range(EACH):
        what, content = mutant(original, seed + 1000 * list(BASES).index(base))
        try:
            kind, _ = outcome(content, x)
        except Exception as error:  # the claim is that there is none
            wrong.append(f"seed {seed}, {what}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        count[kind] += 1
    record_property(base, dict(count))
    assert not wrong, "\n".join(wrong)
    assert count["refused"] > EACH // 4 and count["equal"] > EACH // 20, count


def test_every_kind_of_damage_is_done_to_every_base() -> None:
    kinds = len(MUTATIONS) + 1
    assert len(BASES) * EACH >= 2000 and kinds <= EACH
