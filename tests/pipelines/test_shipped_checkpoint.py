"""The checkpoint that ships: its accuracy, and that every software stage predicts the same on all test images."""

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
