"""Checkpoints: weights, recipe and metrics in one file that loads without executing code."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

FORMAT = "psaflow-checkpoint-1"
# what torch's safe unpickler raises on bytes that are no pickle of plain data; it checks little before it runs into them
UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, ValueError, LookupError, OSError, TypeError,
              AttributeError, AssertionError, struct.error)  # fmt: skip


class CheckpointError(ValueError):
    """A checkpoint is missing, corrupt or of another kind; the message is one line for the user."""


@contextmanager
def replacing(path: Path, tag: str = "") -> Iterator[Path]:
    """A file beside `path` that takes its place once it is whole, and is gone if writing fails.

    `tag` tells writers apart where several processes may write the same file.
    """
    temporary = path.with_name(f"{path.name}{tag}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` (tensors and plain Python values) so that `path` always holds a whole file; OSError where it cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # torch.save into a file turns a full disk into a RuntimeError of its own
    torch.save({"format": FORMAT} | content, buffer)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; CheckpointError where it is not one of ours."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train one with `psaflow train RECIPE.yaml`")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        raise CheckpointError(f"{path}: not a readable checkpoint (cut short, damaged, or holding code); train or fetch it again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a psaflow checkpoint (no format {FORMAT!r}); make one with `psaflow train RECIPE.yaml`")
    for part, kind in (("recipe", dict), ("metrics", dict), ("float", dict), ("quantized", dict)):
        if not isinstance(content.get(part, {}), kind):
            raise CheckpointError(f"{path}: its {part!r} is {type(content[part]).__name__}, not {kind.__name__}; train or fetch it again")
    if not all(isinstance(v, int | float) for v in content.get("metrics", {}).values()):
        raise CheckpointError(f"{path}: its 'metrics' are no plain numbers; train or fetch it again")
    return content
