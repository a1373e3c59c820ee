"""Two processes under torchrun end where one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.train import tiny
from train import checkpoint, parallel
from train.loop import TrainingError
from train.run import build, train_recipe

SGD = {"epochs": 2, "batch": 16, "optimizer": "sgd", "learning_rate": 1e-2}  # AdamW would blow rounding up where gradients are zero
STAGES = {
    "transfer": SGD | {"kind": "transfer", "learning_rate": 1e-3},
    "float": SGD | {"teacher_share": 0.0, "weight_decay": 0.1, "ema": 0.5},
    "distill": SGD | {"temperature": 2.0},
    "quantized": {"kind": "quantized", "epochs": 1, "batch": 16},
}


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    data = tiny.images()
    given = tiny.recipe(STAGES, model={"blocks": 2}, teacher="wise")
    taught = tiny.teacher_checkpoint(data, tmp_path / "wise", blocks=2)
    train_recipe(given, data, tmp_path / "one", teacher=taught, compile_model=False)
    np.savez(tmp_path / "data.npz", **vars(data))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(given.model_dump(), sort_keys=False))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipelines.cli", "train",
               tmp_path / "tiny.yaml", "--out", tmp_path / "two", "--teacher", taught, "--data", tmp_path / "data.npz", "--device", "cpu",
               "--no-compile", "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == str(tmp_path / "two" / "tiny.pt")  # one process speaks
    assert done.stderr.count("tiny distill epoch 2/2") == 1
    torch.manual_seed(0)
    fresh = build(given.model).state_dict()
    for name in ("transfer_0", "transfer_1", "float", "distill"):
        one, two = (checkpoint.load(tmp_path / run / f"last_{name}.pt") for run in ("one", "two"))
        for key, value in one["model"].items():
            torch.testing.assert_close(two["model"][key], value, rtol=1e-5, atol=1e-5, msg=f"{name}: {key}")
        for a, b in zip(one["rows"], two["rows"], strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-5) and b["top1"] == a["top1"]
    for key in ("blocks.0.token_linear.weight", "blocks.0.fc1.weight", "blocks.1.fc2.weight", "blocks.0.token_norm.running_mean"):
        assert (one["model"][key] - fresh[key]).abs().max() > 1e-3  # a hundred times what may differ
    ends = [checkpoint.load(tmp_path / run / "tiny.pt") for run in ("one", "two")]
    assert ends[0]["metrics"]["float_top1"] == ends[1]["metrics"]["float_top1"]
    assert ends[1]["quantized"].keys() == ends[0]["quantized"].keys()


def test_a_batch_that_does_not_split_is_refused_before_any_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "world", lambda: 3)
    given = tiny.recipe({"a": {"batch": 15}, "b": {"batch": 16}})
    with pytest.raises(TrainingError) as error:
        train_recipe(given, tiny.images(), tmp_path / "run", compile_model=False)
    assert str(error.value) == "tiny: stages.b.batch of 16 does not split over 3 processes"
    assert not (tmp_path / "run").exists()


def test_one_process_needs_nobody() -> None:
    x = torch.randn(3)
    assert (parallel.world(), parallel.rank()) == (1, 0)
    assert parallel.mean(x) is x
    module = torch.nn.Linear(2, 2)
    assert parallel.distributed(module) is module
    with parallel.processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu") and not torch.distributed.is_initialized()
