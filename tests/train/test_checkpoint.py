"""Checkpoints: whole or not at all, and never code."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch

from train import checkpoint
from train.checkpoint import CheckpointError, load, save


def content() -> dict:
    torch.manual_seed(0)
    return {"model": {"w": torch.randn(40, 30), "n": torch.tensor(3)}, "rows": [{"loss": 0.5}], "recipe": {"name": "a", "seed": 0}}


def assert_same(loaded: dict, saved: dict) -> None:
    assert {k: v for k, v in loaded.items() if k not in ("model", "format")} == {k: v for k, v in saved.items() if k != "model"}
    assert all(torch.equal(loaded["model"][k], v) for k, v in saved["model"].items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "last.pt"


def error(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_a_round_trip_keeps_everything(path: Path) -> None:
    save(path, content())
    assert_same(load(path), content())
    assert_same(load(str(path)), content())
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


def test_saving_again_replaces(path: Path) -> None:
    save(path, content())
    save(path, content() | {"rows": [1, 2]})
    assert load(path)["rows"] == [1, 2]


@pytest.mark.parametrize("place", ["torch.save", "os.fsync", "os.replace"])
def test_a_save_that_fails_keeps_the_previous_file(path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    save(path, content())

    def fail(*args: object, **options: object) -> None:
        if place == "torch.save":
            args[1].write(b"half of a fi")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch if place == "torch.save" else checkpoint.os, place.split(".")[1], fail)
    with pytest.raises(OSError, match="No space left"):
        save(path, content() | {"rows": []})
    monkeypatch.undo()
    assert_same(load(path), content())
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]
    save(path, content() | {"rows": [3]})
    assert load(path)["rows"] == [3]


def test_what_cannot_be_loaded_safely_is_not_left_behind(path: Path) -> None:
    save(path, content())
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        save(path, content() | {"rows": lambda: 3})
    assert_same(load(path), content())
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


def test_a_disk_that_is_full_is_an_oserror_with_its_reason(path: Path) -> None:
    save(path, content())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(path, content() | {"rows": []})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_same(load(path), content())
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


def test_no_file(path: Path) -> None:
    message = error(path)
    assert "no such checkpoint" in message and "psaflow train" in message


def test_a_folder(tmp_path: Path) -> None:
    assert "no such checkpoint" in error(tmp_path)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_file_cut_short(path: Path, share: float) -> None:
    save(path, content())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "not a readable checkpoint (cut short, damaged" in error(path)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_loads_whole_or_is_told_in_one_line(path: Path, seed: int) -> None:
    save(path, content())
    data = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(seed)
    start = int(torch.randint(0, len(data), (1,), generator=generator))
    for at in range(start, min(start + 1 + seed % 20, len(data))):
        data[at] = int(torch.randint(0, 256, (1,), generator=generator))
    path.write_bytes(data)
    try:
        assert isinstance(load(path), dict)
    except CheckpointError as damaged:
        assert "\n" not in str(damaged)


OTHERS = {
    "text": b"a text, not a checkpoint",
    "zeros": bytes(1000),
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_another_kind_of_file(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    assert "not a readable checkpoint" in error(path)


FOREIGN = {
    "weights alone": {"w": torch.ones(3)},
    "another format": {"format": "psaflow-checkpoint-0"},
    "a tensor": torch.ones(3),
    "a list": [1, 2],
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN)
def test_somebody_elses_checkpoint(path: Path, value: object) -> None:
    path.parent.mkdir()
    torch.save(value, path)
    assert "not a psaflow checkpoint (no format 'psaflow-checkpoint-1')" in error(path)


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["torch", "torch legacy", "pickle"])
def test_code_in_a_checkpoint_does_not_run(path: Path, tmp_path: Path, form: str) -> None:
    path.parent.mkdir()
    target = tmp_path / "ran"
    value = content() | {"format": checkpoint.FORMAT, "extra": Attack(target)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=form == "torch")
    message = error(path)
    assert "holding code" in message
    assert not target.exists()
    pickle.loads(pickle.dumps(Attack(target)))  # it would have
    assert target.exists()
