"""psaflow bench: measurements of speed and memory, one subcommand each, in pipelines/bench_<subcommand>.py."""

from __future__ import annotations

from typing import ClassVar

import click

from pipelines.cli import Lazy


class Bench(Lazy):
    """A subcommand is a line here and a module with a `main`."""

    MODULES: ClassVar = "pipelines.bench_"
    COMMANDS: ClassVar = {
        "kernels": "Training steps of activation + Linear, ours beside plain PyTorch.",
        "lookup": "A table per channel: our kernel beside standard ops.",
        "resources": "The resource model beside what yosys makes of the modules.",
        "rtl": "The accelerator: cycles, resources, clock and images per second.",
        "runtime": "Serving: images per second and latency of every form of a network.",
        "simd": "The fixed engine: cycles per image of several networks.",
        "tables": "Accuracy with full tables, and with knots that are fitted or subsampled.",
    }


@click.group("bench", cls=Bench)
def main() -> None:
    """Measure speed and memory."""


if __name__ == "__main__":
    main()
