"""FINN kept to itself: imported only when asked for, quiet, its files in a temporary folder, the environment as it was."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.console import UserError


@contextlib.contextmanager
def finn_session(build_folder: Path | None = None) -> Iterator[None]:
    """FINN with our ops and backends registered; what it generates goes to `build_folder`, or to a temporary one that goes away again.

    FINN reads and writes environment variables, makes ~/.finn where it is told of no settings, and prints. UserError where it is not
    installed, and in place of its own errors.
    """
    environment = dict(os.environ)
    finn_log = logging.getLogger("finn_logger")
    level = finn_log.level
    with tempfile.TemporaryDirectory() as temporary:
        folder = build_folder or Path(temporary)
        os.environ |= {"FINN_SETTINGS": str(Path(temporary) / "settings.yaml"), "FINN_BUILD_DIR": str(folder)}
        if not logging.getLogger("custom_ops").isEnabledFor(logging.INFO):
            finn_log.setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                error_type = _start()
                try:
                    yield
                except error_type as error:
                    raise UserError(f"FINN: {' '.join(str(error).split())}") from None
        finally:
            finn_log.setLevel(level)
            os.environ.clear()
            os.environ.update(environment)


def _start() -> type[Exception]:
    """Import FINN and register our ops; returns the base class of FINN's errors."""
    try:
        from finn.util.exception import FINNError
        from finn.util.settings import initialize_dummy_settings

        import accel.finn  # noqa: F401
        import custom_ops.finn  # noqa: F401
    except ImportError as error:
        package = (error.name or "finn").split(".")[0]
        what = "FINN is" if package == "finn" else f"FINN needs {package}, which is"
        raise UserError(f"{what} not installed; run make finn") from None
    initialize_dummy_settings()
    return FINNError
