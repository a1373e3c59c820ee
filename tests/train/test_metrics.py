"""Metrics on disk: a row an epoch in the CSV and in TensorBoard, however often a run was stopped."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train import tiny
from tests.train.stages import recipe, train
from train import checkpoint
from train.data import Cifar10


@pytest.fixture(scope="module")
def data() -> Cifar10:
    return tiny.images()


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def table(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def events(folder: Path) -> Iterator[dict[str, float]]:
    """TensorBoard's scalars, one dictionary an epoch; single precision."""
    board = EventAccumulator(str(folder)).Reload()
    columns = {name: {event.step: event.value for event in board.Scalars(name)} for name in board.Tags()["scalars"]}
    for epoch in next(iter(columns.values())):
        yield {"epoch": float(epoch)} | {name: values[epoch] for name, values in columns.items()}


def assert_metrics(folder: Path, name: str, rows: list[dict[str, float]]) -> None:
    """The CSV holds the rows exactly, TensorBoard in single precision, both one row an epoch."""
    assert table(folder / f"{name}.csv") == rows
    found = list(events(folder / "tensorboard" / name))
    assert [sorted(row) for row in found] == [sorted(row) for row in rows]
    assert found == [{k: float(np.float32(v)) for k, v in row.items()} for row in rows]


def test_metrics_are_written_after_every_epoch(tmp_path: Path, data: Cifar10) -> None:
    for epochs in (1, 2, 3):
        _, rows = train("float", recipe(), data, tmp_path, resume=epochs > 1, stop_after=epochs)
        assert len(rows) == epochs
        assert_metrics(tmp_path, "float", rows)
    assert (tmp_path / "float.csv").read_text().splitlines()[0] == "epoch,loss,top1,learning_rate,seconds"
    written = files(tmp_path)
    assert [name for name in written if not name.startswith("tensorboard/float/events.out.tfevents.")] == ["float.csv", "last_float.pt"]
    assert len(written) == 2 + 3  # one file of events a run


@pytest.mark.parametrize("stop", ["before the state is kept", "after the state is kept"])
def test_metrics_have_each_epoch_once_after_a_run_was_stopped(
    tmp_path: Path, data: Cifar10, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    save, count = checkpoint.save, 0

    def stopped(*args) -> None:
        nonlocal count
        count += 1
        if count == 3 and stop.startswith("before"):
            raise tiny.Interrupted
        save(*args)
        if count == 3:
            raise tiny.Interrupted

    monkeypatch.setattr(checkpoint, "save", stopped)
    with pytest.raises(tiny.Interrupted):
        train("float", recipe(), data, tmp_path)
    monkeypatch.undo()
    _, rows = train("float", recipe(), data, tmp_path, resume=True)
    assert_metrics(tmp_path, "float", rows)
