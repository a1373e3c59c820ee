"""The C++ kernels for onnxruntime, compiled once by the machine's compiler, found by their sources' hash."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
KERNELS = (("psaflow", "ChannelLUT"),)  # (domain, op) that the library registers
BUILD_SECONDS = 120  # a build takes about two; a compiler that takes this long hangs


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


def cache_folder() -> Path:
    """$PSAFLOW_CACHE, else psaflow/ in the user's cache folder."""
    if "PSAFLOW_CACHE" in os.environ:
        return Path(os.environ["PSAFLOW_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "psaflow"


def _digest(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(" ".join(FLAGS).encode() + version)
    for source in sorted([*SOURCES.glob("*.cc"), *SOURCES.glob("*.h")]):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(compiler: str, target: Path) -> None:
    log.info("compiling the onnxruntime kernels into %s", target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            built = Path(folder) / target.name
            sources = [str(source) for source in sorted(SOURCES.glob("*.cc"))]
            run = subprocess.run(
                [compiler, *FLAGS, *sources, "-o", str(built)],
                capture_output=True, text=True, check=False, timeout=BUILD_SECONDS,
            )  # fmt: skip
            if run.returncode:
                first = next(iter(run.stderr.splitlines()), f"exit status {run.returncode}")
                raise KernelError(f"{compiler} could not build the kernels: {first}")
            built.replace(target)  # atomic: another process may be building the same
    except OSError as error:
        reason = f"cannot write {target.parent}: {error.strerror}"
        raise KernelError(f"{reason}; set PSAFLOW_CACHE to another folder") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"{compiler} took more than {BUILD_SECONDS} s over the kernels") from None
