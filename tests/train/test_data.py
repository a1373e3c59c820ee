"""CIFAR-10 from files, and one line of explanation for every fault."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import random_images
from train.data import ENVIRONMENT, Cifar10, DataAbsent, DataError, default_path, load_cifar10

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data of this machine is in reach."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def arrays() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "x_train": random_images(12, seed=0), "y_train": rng.integers(0, 10, 12),
        "x_test": random_images(5, seed=1), "y_test": rng.integers(0, 10, 5),
    }  # fmt: skip


def written(path: Path, content: Arrays, *, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_an_npz_is_read(tmp_path: Path, kind: type, compressed: bool) -> None:
    content = arrays()
    content["y_train"], content["y_test"] = content["y_train"].astype(kind), content["y_test"].astype(kind)
    data = load_cifar10(written(tmp_path / "data.npz", content, compressed=compressed))
    for name, value in content.items():
        assert (getattr(data, name) == value).all()
    assert data.y_train.dtype == data.y_test.dtype == np.int64


def test_the_environment_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(written(tmp_path / "data.npz", arrays())))
    assert len(load_cifar10().x_train) == 12
    assert default_path() == tmp_path / "data.npz"


def test_without_a_name_the_place_is_in_the_users_cache(tmp_path: Path) -> None:
    assert default_path() == tmp_path / "cache" / "psaflow" / "cifar10"


def changed(**changes: np.ndarray | None) -> Arrays:
    content = arrays() | changes
    return {name: value for name, value in content.items() if value is not None}


FAULTS = {
    "no x_test": (changed(x_test=None), ("array x_test is missing", "y_test [m]")),
    "no y_train": (changed(y_train=None), ("array y_train is missing",)),
    "another size": (changed(x_train=np.zeros((12, 28, 28, 3), np.uint8)), ("x_train is uint8 [12, 28, 28, 3]", "uint8 [n, 32, 32, 3]")),
    "channels first": (changed(x_test=np.zeros((5, 3, 32, 32), np.uint8)), ("x_test is uint8 [5, 3, 32, 32]", "[n, 32, 32, 3]")),
    "flat": (changed(x_train=np.zeros((12, 3072), np.uint8)), ("x_train is uint8 [12, 3072]",)),
    "float images": (changed(x_train=np.zeros((12, 32, 32, 3), np.float32)), ("x_train is float32", "expected uint8")),
    "signed images": (changed(x_test=np.zeros((5, 32, 32, 3), np.int8)), ("x_test is int8",)),
    "no images": (changed(x_test=np.zeros((0, 32, 32, 3), np.uint8), y_test=np.zeros(0, int)), ("x_test is uint8 [0, 32, 32, 3]",)),
    "float labels": (changed(y_train=np.zeros(12)), ("y_train is float64 [12]", "expected integers [12]")),
    "boolean labels": (changed(y_train=np.zeros(12, bool)), ("y_train is bool",)),
    "one-hot labels": (changed(y_test=np.zeros((5, 10), int)), ("y_test is int64 [5, 10]", "integers [5]")),
    "too few labels": (changed(y_train=np.zeros(11, int)), ("y_train is int64 [11]", "integers [12]")),
    "class 10": (changed(y_train=np.full(12, 10)), ("y_train holds 10..10", "0..9")),
    "class -1": (changed(y_test=np.array([0, 1, -1, 3, 9])), ("y_test holds -1..9", "0..9")),
    "class 2**64 - 1": (changed(y_test=np.full(5, 2**64 - 1, np.uint64)), ("y_test holds", "0..9")),
    "objects": (changed(y_train=np.array([{}] * 12, dtype=object)), ("not a readable .npz",)),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_in_one_line_that_names_file_and_array(tmp_path: Path, content: Arrays, words: tuple[str, ...]) -> None:
    path = written(tmp_path / "data.npz", content)
    with pytest.raises(DataError) as error:
        load_cifar10(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    for word in words:
        assert word in message


def npy(_: bytes) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def flipped(data: bytes) -> bytes:
    """Bytes in the middle of the first member's compressed data are inverted."""
    return data[:2000] + bytes(255 - b for b in data[2000:2100]) + data[2100:]


def other_zip(_: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            file.writestr(f"{name}.npy", "text")
    return stream.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda d: b"", "text": lambda d: b"these are no images", "half": lambda d: d[: len(d) // 2], "start": lambda d: d[:100],
    "without its end": lambda d: d[:-10], "without its start": lambda d: d[50:], "an .npy": npy, "flipped bytes": flipped,
    "a zip of text": other_zip,
}  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, damage: Callable[[bytes], bytes], compressed: bool) -> None:
    path = written(tmp_path / "data.npz", arrays(), compressed=compressed)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as error:
        load_cifar10(path)
    assert str(error.value).startswith(f"{path}: not a readable .npz; it needs x_train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_environment: bool) -> None:
    path = tmp_path / "nothing"
    if by_environment:
        monkeypatch.setenv(ENVIRONMENT, str(path))
    with pytest.raises(DataError, match=r"nothing: no such file or folder; name an .npz") as error:
        load_cifar10(None if by_environment else path)
    assert not isinstance(error.value, DataAbsent)
    assert not path.exists()


def test_a_folder_without_cifar_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no CIFAR-10 there: expected a torchvision root with cifar-10-batches-py") as error:
        load_cifar10(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")


class FakeCifar:
    """torchvision's CIFAR10 as far as it is used."""

    calls: list[tuple[str, bool, bool]] = []
    error: Exception | None = None

    def __init__(self, root: str, train: bool, download: bool) -> None:
        self.calls.append((root, train, download))
        if self.error is not None:
            raise self.error
        content = arrays()
        self.data = content["x_train" if train else "x_test"]
        self.targets = content["y_train" if train else "y_test"].tolist()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeCifar]:
    from train import torchvision_import

    monkeypatch.setattr(torchvision_import.datasets, "CIFAR10", FakeCifar)
    monkeypatch.setattr(FakeCifar, "calls", [])
    monkeypatch.setattr(FakeCifar, "error", None)
    return FakeCifar


def test_a_torchvision_root_is_read_and_not_downloaded_into(tmp_path: Path, fake: type[FakeCifar]) -> None:
    data = load_cifar10(tmp_path)
    assert fake.calls == [(str(tmp_path), True, False), (str(tmp_path), False, False)]
    assert (data.x_train == arrays()["x_train"]).all() and (data.y_test == arrays()["y_test"]).all()
    assert data.y_train.dtype == np.int64


def test_the_default_place_is_downloaded_into(tmp_path: Path, fake: type[FakeCifar]) -> None:
    load_cifar10()
    assert fake.calls[0] == (str(tmp_path / "cache" / "psaflow" / "cifar10"), True, True)


@pytest.mark.parametrize("error", [RuntimeError("Dataset not found"), OSError("<urlopen error>"), ConnectionError("refused")])
def test_data_that_cannot_be_downloaded_is_absent(fake: type[FakeCifar], monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(FakeCifar, "error", error)
    with pytest.raises(DataAbsent, match=rf"could not be downloaded; name it with --data or \${ENVIRONMENT}"):
        load_cifar10()


def test_the_arrays_are_checked_however_they_come() -> None:
    content = arrays()
    assert len(Cifar10(**content).x_test) == 5
    with pytest.raises(DataError, match=r"y_test holds 0\.\.10"):
        Cifar10(**content | {"y_test": np.array([0, 1, 2, 3, 10])})
