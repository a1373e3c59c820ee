"""The checkpoint that ships: its accuracy, and that every software stage predicts the same on all test images."""

from collections import Counter
from pathlib import Path

import pytest

from tests.material import cifar10
from tests.pipelines.conftest import psaflow_json

CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "lerp_psa_h96.pt"
pytestmark = [pytest.mark.data, pytest.mark.slow]


def test_shipped_checkpoint_keeps_its_accuracy_from_float_to_integers(tmp_path):
    data = cifar10(tmp_path)
    report = psaflow_json("build", CHECKPOINT, "--out", tmp_path / "b", "--until", "integer", "--data", data)
    floating = psaflow_json("evaluate", CHECKPOINT, "--stage", "float", "--data", data)["top1"]
    assert report["test_images"] == 10000
    assert floating >= 85.0
    assert report["accuracy"]["checkpoint"] >= max(84.5, floating - 0.3)
    assert len(set(report["accuracy"].values())) == 1
    for stage in report["agreement"].values():
        assert stage["different_predictions"] == 0
        assert stage["different_logits"] == 0 or report["boundary_entries"] > 0


def test_no_pass_changes_a_logit_on_1000_images_and_no_float_op_is_left(tmp_path, record_property):
    from onnx import TensorProto

    from passes import INTEGER, RUNTIME, STREAMLINE, TIDY
    from passes.check import CheckedPasses
    from passes.scaling import errors_of
    from train.data import load_cifar10
    from train.export import export_onnx
    from train.run import load_quantized

    images = load_cifar10(cifar10(tmp_path)).x_test[:1000]
    exported = export_onnx(load_quantized(CHECKPOINT)[0])
    run = CheckedPasses(exported, images)
    counts = {"exported": Counter(n.op_type for n in exported.graph.node)}
    for stage, passes in (("tidy", TIDY), ("streamlined", STREAMLINE), ("integer", INTEGER)):
        model = run.run(stage, passes)
        counts[stage] = Counter(n.op_type for n in model.graph.node)
        if stage == "integer":
            floats = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
            held = [*model.graph.value_info, *model.graph.input, *model.graph.output]
            assert not [v.name for v in held if v.type.tensor_type.elem_type in floats]
            assert not [i.name for i in model.graph.initializer if i.data_type in floats]
            assert not errors_of(model)
    counts["runtime"] = Counter(n.op_type for n in run.run("runtime", RUNTIME).graph.node)
    assert [(r.name, r.mismatches, r.rounded) for r in run.records if r.mismatches or r.rounded] == []
    sums = [sum(count.values()) for count in counts.values()]
    record_property("nodes by stage", {stage: dict(count) for stage, count in counts.items()})
    assert sums[1] <= sums[0] and sums[2] < sums[1] and sums[4] < sums[3] < sums[2]
    assert not {"Quant", "MatMul", "LerpPSA", "GridLerp", "ReduceMean", "Gemm"} & set(counts["integer"])
