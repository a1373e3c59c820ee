"""What all commands share: options, one line for an error, one JSON object on request, progress on stderr."""

from __future__ import annotations

import functools
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

if TYPE_CHECKING:  # imported where they are used, so that --help is quick
    import torch
    from matplotlib.figure import Figure


class UserError(ValueError):
    """A pipeline cannot do what was asked; the message is one line for the user."""


class Mismatch(UserError):
    """A comparison that failed; `result` is what --json prints all the same."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


def _known_errors() -> tuple[type[Exception], ...]:
    """Errors of all rooms whose message is one line for the user."""
    from accel.emit import EmitError
    from accel.simd.graph import CompileError
    from accel.simd.results import ProgramError
    from accel.synth.ecp5 import SynthesisError
    from accel.tools import ToolError
    from accel.verilate import SimulationError
    from custom_ops import OpError
    from custom_ops.devices import DeviceError
    from custom_ops.hw import FoldingError
    from custom_ops.runtime import ModelError
    from passes.check import PassError
    from train.checkpoint import CheckpointError
    from train.data import DataError
    from train.import_arrays import ArrayError
    from train.loop import TrainingError
    from train.recipe import ConfigError

    return (UserError, EmitError, CompileError, ProgramError, SynthesisError, ToolError, SimulationError, OpError, DeviceError,
            FoldingError, ModelError, PassError, CheckpointError, DataError, ArrayError, TrainingError, ConfigError)  # fmt: skip


def command(function: Callable[..., dict[str, Any]], plain: Callable[[dict[str, Any]], None] | None = None) -> Callable[..., None]:
    """A command's body: returns what --json prints; adds --data, --json, --verbose and the handling of errors.

    `plain` shows the result to people, by default a line per key.
    """

    @click.option("--data", type=click.Path(path_type=Path), help="CIFAR-10: an .npz or a torchvision root [$PSAFLOW_DATA].")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, everything else on stderr.")
    @click.option("--verbose", is_flag=True, help="Tell what each step does.")
    @functools.wraps(function)
    def run(as_json: bool, verbose: bool, **options: Any) -> None:
        _set_up_logging(verbose)
        try:
            result = function(**options)
        except KeyboardInterrupt:
            raise SystemExit(_fail("interrupted", 130)) from None
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            raise SystemExit(_fail(f"{error.filename or 'file'}: {error.strerror}", 1)) from None
        except Exception as error:
            if not isinstance(error, _known_errors()):
                raise
            if as_json and isinstance(error, Mismatch):
                click.echo(json.dumps(error.result))
            raise SystemExit(_fail(" ".join(str(error).split()), 1)) from None
        if not _speaks():
            return
        if as_json:
            click.echo(json.dumps(result))
        else:
            (plain or _print_plain)(result)

    return run


def _fail(message: str, status: int) -> int:
    click.echo(f"psaflow: {message}", err=True)
    return status


def _print_plain(result: dict[str, Any], indent: str = "") -> None:
    for key, value in result.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{key}:")
            _print_plain(value, indent + "  ")
        else:
            shown = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else value
            click.echo(f"{indent}{key}: {shown}")


def _speaks() -> bool:
    """Whether this is the one of torchrun's processes, or the only process, that tells what happens."""
    return os.environ.get("RANK", "0") == "0"


def _set_up_logging(verbose: bool) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    for room in ("train", "passes", "accel", "custom_ops", "pipelines"):
        logging.getLogger(room).setLevel(logging.INFO if _speaks() and (verbose or room in ("train", "pipelines")) else logging.WARNING)
    logging.captureWarnings(not verbose)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that `path` holds either all of `content` or what it held before."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def columns(lines: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> list[str]:
    """Lines of cells, the header first, as text in columns: those in `words` to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) if i in words else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in lines]  # fmt: skip


def png(figure: Figure) -> bytes:
    """A figure of matplotlib's as the bytes of a .png; closes it."""
    import matplotlib.pyplot as plt

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    plt.close(figure)
    return content.getvalue()


def check_png(path: Path | None) -> None:
    """Refuses a --plot that does not end in .png."""
    if path is not None and path.suffix.lower() != ".png":
        raise UserError(f"--plot {path}: is drawn as PNG; name a file that ends in .png")


def torch_device(name: str) -> torch.device:
    """cpu, cuda, or with auto a GPU where there is one."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {name}: unknown; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def progress(total: float | None, description: str, unit: str = "it") -> tqdm:
    """A bar on stderr; none where stderr is no terminal."""
    return tqdm(total=total, desc=description, unit=unit, leave=False, disable=not sys.stderr.isatty())
