"""The command `psaflow`."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click


class Lazy(click.Group):
    """Loads a subcommand's module only when it is asked for, so that --help is quick."""

    MODULES: ClassVar = "pipelines."  # a subcommand's module is this and its name
    COMMANDS: ClassVar = {
        "train": "Train a recipe to a checkpoint.",
        "export": "Export a checkpoint to ONNX.",
        "import": "Integer parameters of another trainer to ONNX.",
        "evaluate": "Top-1 of a model or a checkpoint.",
        "build": "From a checkpoint or a model to a bitstream.",
        "simulate": "Run a build's accelerator on images, cycle by cycle.",
        "program": "A model as a program of the fixed engine.",
        "finn": "A model to FINN's dataflow nodes, with FINN's estimates.",
        "compress": "Smaller tables: knots in place of 256 entries.",
        "inspect": "Nodes of a model, or what differs between two.",
        "bench": "Measure speed and memory.",
        "table": "Accuracies of checkpoints beside the article's.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(self.MODULES + name).main if name in self.COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.COMMANDS.items()))


@click.group(cls=Lazy)
@click.version_option(package_name="psaflow")
def main() -> None:
    """psaflow: networks with learnable 1-D functions, from a checkpoint to a bitstream, exact to the bit."""


if __name__ == "__main__":
    main()
