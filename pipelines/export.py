"""psaflow export: a checkpoint to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.console import command, write_whole


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write [<checkpoint>.onnx].")
@command
def main(checkpoint: Path, out: Path | None, data: Path | None) -> dict[str, Any]:
    """Export CHECKPOINT's quantized model: uint8 pixels [N, 32, 32, 3] to logits [N, 10]."""
    from train.export import export_onnx
    from train.run import load_quantized

    model, _ = load_quantized(checkpoint)
    target = out or checkpoint.with_suffix(".onnx")
    exported = export_onnx(model)
    write_whole(target, exported.SerializeToString())
    return {"model": str(target), "nodes": len(exported.graph.node)}


if __name__ == "__main__":
    main()
