"""Compiling kernels: kept by what they are made of, and plain PyTorch where that cannot be done."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from train import native

library = native.library.__wrapped__  # without the memory of this process
compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("c++")), reason="needs a C++ compiler")


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one kernel that gives 3; the cache beside it."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "number.cc").write_text('#include "number.h"\nextern "C" int number() { return NUMBER; }\n')
    (folder / "number.h").write_text("#define NUMBER 3\n")
    monkeypatch.setattr(native, "KERNELS", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def built(folder: Path) -> list[Path]:
    return sorted((folder.parent / "cache" / "psaflow").glob("*"))


@compiler
def test_a_kernel_is_compiled_once(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library("number")
    assert isinstance(first, ctypes.CDLL) and first.number() == 3
    (path,) = built(kernels)
    assert path.name.startswith("number_") and path.suffix == ".so"
    monkeypatch.setattr(native.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    again = library("number")
    assert again is not None and again.number() == 3


@compiler
@pytest.mark.parametrize("change", ["source", "header", "flags"])
def test_a_changed_kernel_is_compiled_again(kernels: Path, change: str) -> None:
    library("number")
    if change == "source":
        (kernels / "number.cc").write_text('extern "C" int number() { return 4; }\n')
    elif change == "header":
        (kernels / "number.h").write_text("#define NUMBER 4\n")
    made = library("number", *(["-UNUMBER", "-include", str(kernels / "number.h")] if change == "flags" else []))
    assert made is not None and made.number() == (3 if change == "flags" else 4)
    assert len(built(kernels)) == 2


@compiler
def test_source_that_does_not_compile_is_told_and_leaves_nothing(kernels: Path, caplog: pytest.LogCaptureFixture) -> None:
    (kernels / "number.cc").write_text("int number( {")
    assert library("number") is None
    assert not built(kernels)
    (record,) = caplog.records
    assert "number: " in record.message and "failed, using plain PyTorch" in record.message and "\n" not in record.message


def test_no_compiler(kernels: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda _: None)
    assert library("number") is None
    assert [r.message for r in caplog.records] == ["number: no C++ compiler on the PATH, using plain PyTorch (install g++ to train faster)"]


@compiler
@pytest.mark.parametrize("fault", ["a file is in the way", "damaged"])
def test_a_cache_that_cannot_be_used_is_told(
    kernels: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    cache = kernels.parent / "cache"
    if fault == "damaged":
        with monkeypatch.context() as context:
            context.setattr(native.ctypes, "CDLL", lambda path: path)
            library("number")
        built(kernels)[0].write_text("no library")
    else:
        cache.write_text("")
    assert library("number") is None
    (record,) = caplog.records
    assert record.message.startswith(f"number: no kernels in {cache / 'psaflow'}, using plain PyTorch: ")
