"""The C++ kernels for onnxruntime, compiled once by the machine's compiler, found by their sources' hash."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
# No -march=native: a kernel chooses its instructions when it runs (isa.h), so the library may be cached for another CPU.
# No fused multiply-adds: float32 results must be the reference's to the bit.
FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off",
    "-Wall", "-Wextra", "-Wno-maybe-uninitialized",  # gcc 12 warns of its own vector headers
)  # fmt: skip
# With PSAFLOW_SANITIZE=1; libasan must be loaded before Python, see `make sanitize`.
SANITIZE_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g")
KERNELS = (  # (domain, op) that the library registers
    ("psaflow", "ChannelLUT"),
    ("psaflow", "GridLerp"),
    ("psaflow", "LerpPSA"),
    ("psaflow", "Linear"),
    ("psaflow", "LinearSum"),
    ("psaflow", "PSA"),
    ("psaflow", "PatchLinear"),
    ("psaflow", "Requant"),
    ("psaflow", "TokenLinear"),
    ("psaflow", "TokenMean"),
    ("qonnx.custom_op.general", "Quant"),
    ("onnx.brevitas", "Quant"),
)
BUILD_SECONDS = 120  # of one compiler run, which takes a few; one that takes this long hangs


class KernelError(RuntimeError):
    """There is no kernel library; the message says why and what to do."""


@functools.cache
def library() -> Path:
    """The compiled library, built now if this machine has not built these sources yet. Raises KernelError."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise KernelError(f"no C++ compiler '{os.environ.get('CXX', 'g++')}'; install g++ or set CXX")
    target = cache_folder() / f"kernels-{_digest(compiler)}.so"
    if not target.exists():
        _build(compiler, target)
    return target


def isa() -> str:
    """The instructions that kernels of a session made now use: portable, avx2 or avx512.

    The best that this CPU has, or what the environment variable PSAFLOW_ISA lowers it to. Raises KernelError if that
    is no name of ours or more than the CPU has, or if there is no library.
    """
    text = ctypes.create_string_buffer(200)
    refused = ctypes.CDLL(str(library())).psaflow_isa(text, ctypes.c_size_t(len(text)))
    if refused:
        raise KernelError(text.value.decode())
    return text.value.decode()


def cache_folder() -> Path:
    """$PSAFLOW_CACHE, else psaflow/ in the user's cache folder."""
    if "PSAFLOW_CACHE" in os.environ:
        return Path(os.environ["PSAFLOW_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "psaflow"


def _flags() -> tuple[str, ...]:
    return (*FLAGS, *SANITIZE_FLAGS) if os.environ.get("PSAFLOW_SANITIZE") == "1" else FLAGS


def _digest(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(" ".join(_flags()).encode() + version)
    for source in sorted([*SOURCES.glob("*.cc"), *SOURCES.glob("*.h")]):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(compiler: str, target: Path) -> None:
    log.info("compiling the onnxruntime kernels into %s", target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            built = Path(folder) / target.name
            sources = sorted(SOURCES.glob("*.cc"))
            objects = [Path(folder) / f"{source.stem}.o" for source in sources]
            with ThreadPoolExecutor(os.cpu_count()) as compilers:
                list(compilers.map(lambda source, made: _compile(compiler, "-c", str(source), "-o", str(made)), sources, objects))
            _compile(compiler, "-shared", *map(str, objects), "-o", str(built))
            built.replace(target)  # atomic: another process may be building the same
    except OSError as error:
        reason = f"cannot write {target.parent}: {error.strerror}"
        raise KernelError(f"{reason}; set PSAFLOW_CACHE to another folder") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"{compiler} took more than {BUILD_SECONDS} s over the kernels") from None


def _compile(compiler: str, *arguments: str) -> None:
    run = subprocess.run([compiler, *_flags(), *arguments], capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    if run.returncode:
        first = next(iter(run.stderr.splitlines()), f"exit status {run.returncode}")
        raise KernelError(f"{compiler} could not build the kernels: {first}")
