"""psaflow compress: an integer model with tables of knots in place of 256 entries, and what each table loses."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from pipelines.config import Tables
from pipelines.console import UserError, check_png, columns, command, write_whole

HEADER = ("table", "rows", "entries", "bits", "of", "worst", "mean", "exact %", "mean as used")


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of `passes.table_errors` in columns, and their sums."""
    cells = [(r["node"], str(r["rows"]), str(r["entries"]), str(r["bits"]), str(r["full_bits"]), str(r["worst"]), f"{r['mean']:.3f}",
              f"{100 * r['exact']:.1f}", "" if r["used_mean"] is None else f"{r['used_mean']:.3f}") for r in rows]  # fmt: skip
    bits, full = (sum(r[key] for r in rows) for key in ("bits", "full_bits"))
    total = ("total", "", "", str(bits), str(full), str(max((r["worst"] for r in rows), default=0)), "", "", "")
    return columns([HEADER, *cells, total])


def show(result: dict[str, Any]) -> None:
    """The tables in columns."""
    for line in table_lines(result["tables"]):
        click.echo(line)
    click.echo(f"{result['model']}: {result['bits'] / 8192:.1f} KiB of tables in place of {result['full_bits'] / 8192:.1f} KiB; "
               "errors in codes of a table's result")  # fmt: skip


@click.command("compress")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .onnx to write.")
@click.option("--every", type=click.Choice(["2", "4", "8", "16"]), default="4", show_default=True, help="Codes from knot to knot, at most.")
@click.option("--method", type=click.Choice(["refine", "fit", "subsample"]), default=None,
              help="Codes made finer and knots trained with the network, or knots fitted to each table, or taken from it "
                   "[refine; fit with --worst].")  # fmt: skip
@click.option("--worst", type=click.IntRange(0), help="Codes by which an entry may be off; a table that needs it gets more knots.")
@click.option("--loss", type=click.FloatRange(0), help="Percent of top-1 on the calibration images that may be lost.")
@click.option("--images", type=click.IntRange(1), default=50000, show_default=True, help="Training images for calibration.")
@click.option("--steps", type=click.IntRange(1), default=800, show_default=True, help="Of --method refine, 64 images each.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw functions and their knots into this .png.")
@partial(command, plain=show)
def main(model: Path, out: Path, every: str, method: str | None, worst: int | None, loss: float | None, images: int, steps: int,
         plot: Path | None, data: Path | None) -> dict[str, Any]:  # fmt: skip
    """MODEL (a checkpoint, or an .onnx of any stage up to 3_integer.onnx) as an integer model with smaller tables.

    Knots lie every so many codes; what lies between is interpolated linearly. The coarsest spacing up to --every is taken that
    keeps --worst, or --loss; without either, --every.
    """
    from passes.table_errors import table_errors
    from pipelines.compression import calibration, smaller
    from pipelines.serving import integer_model

    check_png(plot)
    if out.suffix != ".onnx":
        raise UserError(f"--out {out}: must end in .onnx")
    tables = Tables(every=int(every), method=method or ("refine" if worst is None else "fit"), worst=worst, loss=loss, images=images,
                    steps=steps)  # type: ignore[arg-type]  # fmt: skip
    made = smaller(integer_model(model), tables, calibration(data, tables))
    rows = [asdict(row) for row in table_errors(made.full, made.model, made.counts)]
    if plot is not None:
        from pipelines.table_plot import draw

        write_whole(plot, draw(made.full, made.model))
    write_whole(out, made.model.SerializeToString())
    return {"model": str(out), **tables.model_dump(), "tables": rows, "bits": sum(r["bits"] for r in rows),
            "full_bits": sum(r["full_bits"] for r in rows)}  # fmt: skip


if __name__ == "__main__":
    main()
