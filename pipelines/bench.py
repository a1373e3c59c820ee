"""psaflow bench: measurements of speed and memory, one subcommand each, in pipelines/bench_<subcommand>.py."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click

from pipelines.cli import Lazy


class Bench(Lazy):
    """A subcommand is a line here and a module with a `main`."""

    COMMANDS: ClassVar = {
        "kernels": "Training steps of activation + Linear, ours beside plain PyTorch.",
        "runtime": "Serving: images per second and latency of every form of a network.",
        "tables": "Accuracy with full tables, and with knots that are fitted or subsampled.",
    }

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(f"pipelines.bench_{name}").main if name in self.COMMANDS else None


@click.group("bench", cls=Bench)
def main() -> None:
    """Measure speed and memory."""


if __name__ == "__main__":
    main()
