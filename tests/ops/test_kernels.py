"""The kernel library: built once, named by the hash of its sources, never half written."""

import shutil
import subprocess

import pytest

from custom_ops import OPS, kernels
from custom_ops.kernels import KERNELS, KernelError, library

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PSAFLOW_CACHE", str(tmp_path / "cache"))
    library.cache_clear()
    yield tmp_path / "cache"
    library.cache_clear()


def copied_sources(tmp_path, monkeypatch):
    """The kernels' sources in a folder that a test may edit."""
    folder = tmp_path / "sources"
    shutil.copytree(kernels.SOURCES, folder)
    monkeypatch.setattr(kernels, "SOURCES", folder)
    return folder


def test_it_is_built_once_and_exports_only_its_entry_point(own_cache):
    path = library()
    built = path.stat().st_mtime_ns
    library.cache_clear()
    assert (library(), path.stat().st_mtime_ns) == (path, built)
    assert list(own_cache.iterdir()) == [path]
    if shutil.which("nm"):
        symbols = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
        assert [line.split()[-1] for line in symbols.splitlines() if " T " in line] == ["RegisterCustomOps"]


def test_a_changed_source_gets_a_library_of_its_own(tmp_path, monkeypatch):
    folder, first = copied_sources(tmp_path, monkeypatch), library()
    (folder / "register.cc").write_text((folder / "register.cc").read_text() + "// changed\n")
    library.cache_clear()
    assert library() != first
    assert first.exists()


def test_sources_that_do_not_compile_are_named_and_leave_nothing(own_cache, tmp_path, monkeypatch):
    folder = copied_sources(tmp_path, monkeypatch)
    (folder / "channel_lut.cc").write_text("this is not C++\n")
    with pytest.raises(KernelError, match=r"could not build the kernels: .*channel_lut\.cc:1"):
        library()
    assert list(own_cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PSAFLOW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(KernelError, match=r"cannot write .*; set PSAFLOW_CACHE to another folder"):
        library()


def test_every_kernel_is_an_op_with_a_body():
    assert all(domain == "psaflow" and name in OPS for domain, name in KERNELS)
