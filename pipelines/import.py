"""psaflow import: integer parameters from another trainer to an integer ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.console import command, write_whole


@click.command("import")
@click.argument("parameters", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@command
def main(parameters: Path, out: Path, data: Path | None) -> dict[str, Any]:
    """Import PARAMETERS (an .npz in the array form of README.md): uint8 pixels to int8 logits."""
    from train.import_arrays import import_arrays, read_arrays

    model = import_arrays(read_arrays(parameters))
    write_whole(out, model.SerializeToString())
    return {"model": str(out), "nodes": len(model.graph.node)}


if __name__ == "__main__":
    main()
