"""C++ kernels of train/, compiled on first use for the machine that trains and kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)
KERNELS = Path(__file__).parent / "kernels"
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-shared", "-fPIC", "-w")


@functools.cache
def library(name: str, *flags: str) -> ctypes.CDLL | None:
    """The compiled `train/kernels/<name>.cc`, or None, with a warning, where it cannot be built."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler is None:
        log.warning("%s: no C++ compiler on the PATH, using plain PyTorch (install g++ to train faster)", name)
        return None
    machine = Path("/proc/cpuinfo")
    cpu = next((s for s in machine.read_text().splitlines() if s.startswith("flags")), "") if machine.exists() else ""
    sources = b"".join(path.read_bytes() for path in (*sorted(KERNELS.glob("*.h")), KERNELS / f"{name}.cc"))
    key = hashlib.sha256(sources + " ".join((*FLAGS, *flags, cpu)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "psaflow"
    target = cache / f"{name}_{key}.so"
    try:
        if not target.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=cache, suffix=".so", delete=False) as temporary:
                pass
            command = [compiler, *FLAGS, *flags, str(KERNELS / f"{name}.cc"), "-o", temporary.name]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            if built.returncode:
                Path(temporary.name).unlink()
                log.warning("%s: %s failed, using plain PyTorch: %s", name, compiler, built.stderr.strip().splitlines()[:1])
                return None
            Path(temporary.name).replace(target)
        return ctypes.CDLL(str(target))
    except OSError as error:
        log.warning("%s: no kernels in %s, using plain PyTorch: %s", name, cache, error)
        return None
