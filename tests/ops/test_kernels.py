"""The kernel library: built once, named by the hash of its sources, never half written; its choice of instructions."""

import ctypes
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from custom_ops import OPS, kernels
from custom_ops.functions import DOMAINS
from custom_ops.kernels import FLAGS, KERNELS, KernelError, isa, library
from custom_ops.quant import DOMAINS as QUANT_DOMAINS
from custom_ops.runtime import ModelError, kernels_of, session

from .kernel_cases import ISAS, large_case

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
AARCH64 = "aarch64-linux-gnu-g++"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PSAFLOW_CACHE", str(tmp_path / "cache"))
    library.cache_clear()
    yield tmp_path / "cache"
    library.cache_clear()


def copied_sources(tmp_path, monkeypatch):
    """A folder of sources that a test may edit: few of the kernels', so that they compile quickly."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("isa.cc", "isa.h", "refusal.h"):
        shutil.copy(kernels.SOURCES / name, folder)
    monkeypatch.setattr(kernels, "SOURCES", folder)
    return folder


def test_it_is_built_once(own_cache, tmp_path, monkeypatch):
    copied_sources(tmp_path, monkeypatch)
    path = library()
    built = path.stat().st_mtime_ns
    library.cache_clear()
    assert (library(), path.stat().st_mtime_ns) == (path, built)
    assert list(own_cache.iterdir()) == [path]


def test_two_that_build_at_once_leave_one_whole_library(own_cache, tmp_path, monkeypatch):
    copied_sources(tmp_path, monkeypatch)
    target = own_cache / "kernels-same.so"
    with ThreadPoolExecutor(2) as builders:
        list(builders.map(lambda _: kernels._build("g++", target), range(2)))
    assert list(own_cache.iterdir()) == [target]
    assert ctypes.CDLL(str(target)).psaflow_isa is not None


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_it_exports_only_its_entry_points():
    symbols = subprocess.run(["nm", "-D", "--defined-only", library()], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines() if " T " in line] == ["RegisterCustomOps", "psaflow_isa"]


@pytest.mark.usefixtures("own_cache")
def test_a_changed_source_gets_a_library_of_its_own(tmp_path, monkeypatch):
    folder, first = copied_sources(tmp_path, monkeypatch), library()
    (folder / "isa.cc").write_text((folder / "isa.cc").read_text() + "// changed\n")
    library.cache_clear()
    assert library() != first
    assert first.exists()


def test_sources_that_do_not_compile_are_named_and_leave_nothing(own_cache, tmp_path, monkeypatch):
    folder = copied_sources(tmp_path, monkeypatch)
    (folder / "channel_lut.cc").write_text("this is not C++\n")
    with pytest.raises(KernelError, match=r"could not build the kernels: .*channel_lut\.cc:1"):
        library()
    assert list(own_cache.iterdir()) == []


@pytest.mark.usefixtures("own_cache")
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PSAFLOW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(KernelError, match=r"cannot write .*; set PSAFLOW_CACHE to another folder"):
        library()


def test_every_kernel_is_an_op_with_a_body():
    quants = {(domain, "Quant") for domain in QUANT_DOMAINS}
    assert quants <= set(KERNELS)
    assert all(name in DOMAINS[domain] for domain, name in set(KERNELS) - quants)
    assert all(("psaflow", name) in KERNELS for name in OPS)


def test_sessions_tell_which_kernels_they_run():
    for op in ("ChannelLUT", "Quant"):
        case = large_case(op)
        assert kernels_of(session(case.model(), kernels=True)) == {f"{case.domain}.{op}": 1}
        assert kernels_of(session(case.model(), kernels=False)) == {}


def test_the_environment_lowers_the_instructions(monkeypatch):
    monkeypatch.delenv("PSAFLOW_ISA", raising=False)
    best = isa()
    assert best in ISAS
    for name in ISAS[: ISAS.index(best) + 1]:
        monkeypatch.setenv("PSAFLOW_ISA", name)
        assert isa() == name
    monkeypatch.setenv("PSAFLOW_ISA", "")
    assert isa() == best


def test_instructions_that_are_none_are_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("PSAFLOW_ISA", "sse9")
    for ask in (isa, lambda: session(large_case("ChannelLUT").model())):
        with pytest.raises((KernelError, ModelError)) as error:
            ask()
        assert str(error.value) == "PSAFLOW_ISA=sse9 must be portable, avx2 or avx512"


def test_instructions_that_the_cpu_lacks_are_refused(tmp_path, monkeypatch):
    """A library that takes this CPU for an old one: it refuses what it would otherwise run."""
    monkeypatch.delenv("PSAFLOW_ISA", raising=False)
    built = tmp_path / "old.so"
    subprocess.run(["g++", *FLAGS, "-shared", "-D__builtin_cpu_supports(name)=0", kernels.SOURCES / "isa.cc", "-o", built], check=True)
    monkeypatch.setattr(kernels, "library", lambda: built)
    assert isa() == "portable"
    monkeypatch.setenv("PSAFLOW_ISA", "avx2")
    with pytest.raises(KernelError, match="PSAFLOW_ISA=avx2: this CPU has portable at most; name that or less, or unset it"):
        isa()


@pytest.mark.skipif(shutil.which(AARCH64) is None, reason=f"no {AARCH64}; apt install g++-aarch64-linux-gnu")
def test_the_kernels_compile_for_aarch64(tmp_path):
    sources = sorted(kernels.SOURCES.glob("*.cc"))
    subprocess.run([AARCH64, *FLAGS, "-O0", "-shared", "-Werror", *sources, "-o", tmp_path / "kernels.so"], check=True)
    assert (tmp_path / "kernels.so").stat().st_size > 0


@pytest.mark.skipif(os.environ.get("PSAFLOW_SANITIZE") != "1", reason="not under sanitizers; see make sanitize")
def test_the_library_is_the_one_with_sanitizers():
    symbols = subprocess.run(["nm", "-D", library()], capture_output=True, text=True, check=True).stdout
    assert "__asan_" in symbols
    assert "__ubsan_" in symbols
