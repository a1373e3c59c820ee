"""psaflow train: killed, out of disk, as a table, with its teacher found or missing."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.pipelines.conftest import psaflow, psaflow_json
from train import checkpoint

MODEL = "model: {embed: 8, hidden: 8, blocks: 1, grid: 16, expansion: 2}"
WISE = f"name: wise\n{MODEL}\nstages: {{float: {{epochs: 1, batch: 16, randaugment: false}}}}\n"
STUDENT = f"name: student\n{MODEL}\nteacher: wise\nstages: {{distill: {{epochs: 40, batch: 16, ema: 0.9, views: 4}}}}\n"


@pytest.fixture
def recipes(tmp_path):
    """A teacher, its student of forty short epochs, and the table of both."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, text in (("wise", WISE), ("student", STUDENT), ("table", "recipes: [student, wise]")):
        (folder / f"{name}.yaml").write_text(text)
    return folder


def train(recipe, out, data, *options):
    return psaflow_json("train", recipe, "--out", out, "--data", data, "--no-compile", "--device", "cpu", *options)


def started(recipe, out, data, *options, prefix=()):
    """The command in a process of its own."""
    command = [
        *prefix,
        sys.executable,
        "-m",
        "pipelines.cli",
        "train",
        recipe,
        "--out",
        out,
        "--data",
        data,
        "--no-compile",
        "--device",
        "cpu",
    ]
    return subprocess.Popen([str(c) for c in (*command, *options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip


def refused(*arguments, says, status=1):
    result = psaflow("train", *arguments)
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit) and "Traceback" not in result.stderr
    assert result.stderr.strip().splitlines()[-1] == f"psaflow: {says}"


def weights(path):
    return torch.load(path, weights_only=True)["float"]


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recipe", "table"])
def test_training_killed_at_any_moment_continues_to_the_same_bits(recipes, data, tmp_path, kind):
    torch.set_num_threads(1)
    train(recipes / "table.yaml", tmp_path / "whole", data)
    recipe, out, options = {
        "recipe": (recipes / "student.yaml", tmp_path / "runs" / "student", ["--teacher", tmp_path / "whole" / "wise" / "wise.pt"]),
        "table": (recipes / "table.yaml", tmp_path / "runs", []),
    }[kind]
    process = started(recipe, out, data, *options)
    last = tmp_path / "runs" / "student" / "last_distill.pt"
    while process.poll() is None and not last.exists():
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 1 <= len(checkpoint.load(last)["rows"]) < 40
    train(recipe, out, data, *options, *(["--resume"] if kind == "recipe" else []))
    assert_same(*(weights(tmp_path / runs / "student" / "student.pt") for runs in ("whole", "runs")))
    assert not list((tmp_path / "runs" / "student").rglob("*.part"))


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_leaves_the_last_good_state(recipes, data, tmp_path):
    out = tmp_path / "run"
    short = recipes / "short.yaml"
    short.write_text(WISE.replace("}}", "}, more: {epochs: 1, batch: 16}}"))
    train(short, out, data)
    (out / "wise.pt").unlink()
    (out / "last_more.pt").unlink()
    last = out / "last_float.pt"
    before = last.read_bytes()
    process = started(short, out, data, "--resume", prefix=("bash", "-c", f'ulimit -f {len(before) // 2048}; exec "$@"', "bash"))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in errors
    message = f"psaflow: wise: {out / 'last_more.pt'} could not be written (File too large); no epoch was finished"
    assert errors.strip().splitlines()[-1] == message
    assert last.read_bytes() == before and len(checkpoint.load(last)["rows"]) == 1
    assert not list(out.rglob("*.part")) and not (out / "last_more.pt").exists()
    train(short, out, data, "--resume")
    assert (out / "wise.pt").exists()


def test_a_table_trains_teachers_first_and_prints_every_result(recipes, data, tmp_path):
    results = train(recipes / "table.yaml", tmp_path / "runs", data)
    assert list(results) == ["wise", "student"]
    for name, metrics in results.items():
        content = checkpoint.load(tmp_path / "runs" / name / f"{name}.pt")
        assert metrics == content["metrics"] and sorted(metrics) == ["float_top1", "test_images"]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*")}
    assert train(recipes / "table.yaml", tmp_path / "runs", data) == results
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*")} == before


def test_a_teacher_beside_the_run_is_found_and_one_that_is_named_is_taken(recipes, data, tmp_path):
    (recipes / "student.yaml").write_text(STUDENT.replace("40", "1"))
    refused(recipes / "student.yaml", "--out", tmp_path / "runs" / "student", "--data", data,
            says="student: learns from 'wise'; name its checkpoint with --teacher, or train it first")  # fmt: skip
    assert not (tmp_path / "runs").exists()
    train(recipes / "wise.yaml", tmp_path / "runs" / "wise", data)
    found = train(recipes / "student.yaml", tmp_path / "runs" / "student", data)
    named = train(recipes / "student.yaml", tmp_path / "elsewhere", data, "--teacher", tmp_path / "runs" / "wise" / "wise.pt")
    assert_same(weights(found["checkpoint"]), weights(named["checkpoint"]))


def test_wrong_options_are_refused_before_anything_is_written(recipes, data, tmp_path, monkeypatch):
    out = ["--out", tmp_path / "run", "--data", data]
    refused(recipes / "wise.yaml", *out, "--device", "tpu", says="--device tpu: unknown; choose auto, cpu or cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(recipes / "wise.yaml", *out, "--device", "cuda", says="--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    refused(recipes / "wise.yaml", *out, "--teacher", "t.pt",
            says="--teacher t.pt: wise learns from no teacher; name one in the recipe with `teacher:`")  # fmt: skip
    refused(recipes / "table.yaml", *out, "--teacher", "t.pt",
            says="--teacher belongs to one recipe; a table's recipes name their teachers themselves")  # fmt: skip
    refused(recipes / "student.yaml", *out, "--teacher", tmp_path / "no.pt",
            says=f"{tmp_path / 'no.pt'}: no such checkpoint; train one with `psaflow train RECIPE.yaml`")  # fmt: skip
    refused("no_such_recipe", *out, says="no_such_recipe: no such file")
    (recipes / "wise.yaml").write_text(WISE.replace("batch: 16", "batch: 65"))
    refused(recipes / "wise.yaml", *out, says="wise: 64 training images are fewer than one batch of 65 (stages.float.batch)")
    (recipes / "wise.yaml").write_text(WISE + "teacher: student")
    refused(recipes / "table.yaml", *out,
            says=f"{recipes / 'table.yaml'}: recipes: teachers teach each other in a circle (student, wise)")  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_one_line(recipes, data, tmp_path):
    (tmp_path / "run").write_text("a file")
    result = psaflow("train", recipes / "wise.yaml", "--out", tmp_path / "run", "--data", data, "--no-compile")
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    assert "run" in result.stderr.strip().splitlines()[-1]


def test_a_loss_that_is_not_a_number_is_one_line_with_its_step(recipes, data, tmp_path):
    (recipes / "wise.yaml").write_text(WISE.replace("randaugment: false", "optimizer: sgd, learning_rate: 1.0e+30"))
    result = psaflow("train", recipes / "wise.yaml", "--out", tmp_path / "run", "--data", data, "--no-compile")
    assert result.exit_code == 1 and "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("psaflow: wise: loss is ") and "at float epoch 1, step 1; no epoch was finished" in last
    assert not list(tmp_path.rglob("*.pt"))
