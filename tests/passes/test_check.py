"""The guard around the passes: a pass that changes an answer, refuses or breaks the graph is named and stops the build."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.base import Transformation

from passes.check import CheckedPasses, PassError, logits
from passes.graph import PassRefusal, set_metadata
from passes.logits_to_integer import SCALE
from tests.passes.graphs import parse

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4)).astype(np.uint8)


def model() -> ModelProto:
    """logits = pixels @ W, [N, 3]."""
    return parse("""
        g (uint8[N,4] pixels) => (float[N,3] logits) <float[4,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}>
        { x = Cast <to = 1> (pixels)
          logits = MatMul (x, w) }""")


class Nothing(Transformation):
    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        return model, False


class HalveScale(Transformation):
    """Right: all weights twice as large, the logits' scale half."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        change_weights(model, lambda w: w * 2)
        set_metadata(model.model, SCALE, "0.5")
        return model, False


class ChangeOneWeight(Transformation):
    """Wrong by the last bit of one weight."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        change_weights(model, lambda w: np.where(w == 9, np.nextafter(w, np.float32(0)), w))
        return model, False


class GiveNan(Transformation):
    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        change_weights(model, lambda w: np.where(w == 9, np.float32("nan"), w))
        return model, False


class Refuse(Transformation):
    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        raise PassRefusal("matmul: 3 columns; supported are 4")


class BreakTheGraph(Transformation):
    """Leaves a node that reads a tensor which nobody makes."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        model.graph.node[1].input[0] = "lost"
        return model, False


class AddUnknownOp(Transformation):
    """Leaves an op of our domain that we do not have."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        model.graph.node.append(helper.make_node("Requamt", ["x"], ["y"], name="typo", domain="psaflow"))
        return model, False


class DropClass(Transformation):
    """Leaves two logits of three."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        change_weights(model, lambda w: w[:, :2])
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
        return model, False


class MistakeShapes(Transformation):
    """Runs onnx's shape inference on a graph whose shapes cannot be."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        change_weights(model, lambda w: w[:3])
        onnx.shape_inference.infer_shapes(model.model, strict_mode=True)
        return model, False


def change_weights(model: ModelWrapper, change) -> None:
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)).astype(np.float32), weight.name))


def test_logits_are_multiplied_by_their_scale() -> None:
    scaled = model()
    set_metadata(scaled, SCALE, "0.25")
    expected = IMAGES.astype(float) @ np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]).reshape(4, 3)
    assert (logits(model(), IMAGES) == expected).all()
    assert (logits(scaled, IMAGES) == expected * 0.25).all()
    assert logits(model(), IMAGES).dtype == np.float64


def test_right_passes_are_recorded_in_order() -> None:
    told: list[str] = []
    run = CheckedPasses(model(), IMAGES, tell=told.append)
    run.run("first", [Nothing(), HalveScale()])
    run.run("second", [Nothing()])
    assert [(r.name, r.stage, r.mismatches, r.nodes) for r in run.records] == [
        ("Nothing", "first", 0, 2), ("HalveScale", "first", 0, 2), ("Nothing", "second", 0, 2)]  # fmt: skip
    assert told == ["Nothing", "HalveScale", "Nothing"]


def test_the_caller_keeps_its_model() -> None:
    given = model()
    CheckedPasses(given, IMAGES).run("first", [HalveScale()])
    assert given == model()


@pytest.mark.parametrize("wrong", [ChangeOneWeight(), GiveNan()], ids=["one bit", "nan"])
def test_a_wrong_pass_is_named_and_stops_the_build(wrong: Transformation) -> None:
    told: list[str] = []
    changed = wrong.apply(ModelWrapper(model()))[0].model
    mismatches = int((logits(changed, IMAGES) != logits(model(), IMAGES)).sum())
    assert 0 < mismatches <= 5  # one class of five images
    run = CheckedPasses(model(), IMAGES, tell=told.append)
    with pytest.raises(PassError, match=rf"^{type(wrong).__name__}: changed {mismatches} of 15 logits on 5 images.*'second'"):
        run.run("second", [Nothing(), wrong, HalveScale()])
    assert told == ["Nothing", type(wrong).__name__]
    assert run.records[-1].mismatches == mismatches


def test_a_refusal_is_told_under_the_name_of_its_pass() -> None:
    with pytest.raises(PassError, match=r"^Refuse: matmul: 3 columns; supported are 4$"):
        CheckedPasses(model(), IMAGES).run("first", [Nothing(), Refuse()])


@pytest.mark.parametrize("broken", [BreakTheGraph(), AddUnknownOp(), DropClass(), MistakeShapes()], ids=lambda b: type(b).__name__)
def test_a_pass_that_leaves_no_runnable_graph_is_named_in_one_line(broken: Transformation) -> None:
    with pytest.raises(PassError, match=rf"^{type(broken).__name__}: [^\n]+$"):
        CheckedPasses(model(), IMAGES).run("first", [broken])
