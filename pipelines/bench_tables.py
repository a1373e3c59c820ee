"""psaflow bench tables: top-1 with full tables, and with knots every so many codes, subsampled, fitted, and refined together."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.config import Tables
from pipelines.console import UserError, check_png, columns, command, png, write_whole

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

log = logging.getLogger(__name__)
DEFAULT = Path("checkpoints/lerp_psa_h96.pt")
METHODS = ("subsample", "fit", "refine")
COLOURS = {"subsample": "#909090", "fit": "#4878a8", "refine": "#b04040"}


@dataclass(frozen=True)
class Row:
    """One form of the network. `lost` is top-1 of the full tables less this one's; `changed` counts images of another class."""

    segments: int  # between knots; 256 for full tables
    method: str  # "" for full tables, "finer codes" for those that refining starts from
    bits: int  # of all tables
    worst: int  # error in codes, of a row with finer codes against full tables of such
    used_mean: float  # error in codes, as codes occur in training images
    top1: float
    lost: float
    changed: int


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    header = ("segments", "knots", "KiB", "worst", "mean as used", "top-1 %", "lost", "other class")
    cells = [(str(r["segments"]), r["method"] or "all entries", f"{r['bits'] / 8192:.1f}", str(r["worst"]), f"{r['used_mean']:.3f}",
              f"{r['top1']:.2f}", f"{r['lost']:+.2f}", str(r["changed"])) for r in result["rows"]]  # fmt: skip
    for line in columns([header, *cells], words=(1,)):
        click.echo(line)
    click.echo(f"{result['model']}, {result['test_images']} test images; calibrated on {result['images']} training images; "
               "subsample: as the article does")  # fmt: skip


@click.command("tables")
@click.option("--model", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="A checkpoint, or an integer .onnx.")
@click.option("--every", type=click.Choice(["2", "4", "8", "16"]), multiple=True, help="Codes from knot to knot [4, 8 and 16].")
@click.option("--images", type=click.IntRange(1), default=50000, show_default=True, help="Training images for calibration.")
@click.option("--steps", type=click.IntRange(1), default=800, show_default=True, help="Of refining, 64 images each.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw top-1 over table bits into this .png.")
@functools.partial(command, plain=show)
def main(model: Path, every: tuple[str, ...], images: int, steps: int, plot: Path | None, data: Path | None) -> dict[str, Any]:
    """Top-1 on CIFAR-10's test images with 256 entries a channel, and with knots every 4, 8 and 16 codes."""
    from pipelines.compression import answers_of, calibration, code_counts, compressed, finer
    from pipelines.serving import integer_model
    from train.data import load_cifar10

    check_png(plot)
    cifar = load_cifar10(data)
    found = calibration(data, Tables(images=images))
    assert found is not None  # refining cannot do without
    full = integer_model(model)
    if not code_counts(full, found.images[:1]):
        raise UserError(f"{model}: has no tables to compress")
    fine = finer(full, Tables(method="refine", images=images), found)
    forms = dict.fromkeys(METHODS, full) | {"refine": fine}
    counts = {id(form): code_counts(form, found.images) for form in (full, fine)}
    expected = answers_of(full, cifar.x_test)

    def measured(form: ModelProto, segments: int, method: str, before: ModelProto) -> Row:
        from passes.table_errors import table_errors

        errors = [e for e in table_errors(before, form, counts[id(before)]) if e.used_mean is not None]
        answers = answers_of(form, cifar.x_test).argmax(1)
        top1 = 100.0 * float((answers == cifar.y_test).mean())
        return Row(segments, method, sum(e.bits for e in errors), max(e.worst for e in errors),
                   float(np.mean([e.used_mean for e in errors])), top1, 0.0, int((answers != expected.argmax(1)).sum()))  # fmt: skip

    rows = [measured(full, 256, "", full)]
    row = measured(fine, 256, "finer codes", fine)
    rows.append(replace(row, lost=round(rows[0].top1 - row.top1, 4)))
    for spacing in sorted(map(int, every or ("4", "8", "16"))):
        for method in METHODS:
            log.info("every %d codes, %s ...", spacing, method)
            before = forms[method]
            tables = Tables(every=spacing, method=method, images=images, steps=steps)  # type: ignore[arg-type]
            row = measured(compressed(before, tables, found, counts[id(before)]), 256 // spacing, method, before)
            rows.append(replace(row, lost=round(rows[0].top1 - row.top1, 4)))
    result = {"model": str(model), "images": len(found.images), "steps": steps, "test_images": len(cifar.x_test),
              "rows": [vars(row) for row in rows]}  # fmt: skip
    if plot is not None:
        write_whole(plot, _drawn(rows))
    return result


def _drawn(rows: list[Row]) -> bytes:
    """A .png of top-1 over the tables' size."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.axhline(rows[0].top1, color="black", linewidth=0.8, label=f"256 entries: {rows[0].top1:.2f} %")
    segments = sorted({r.segments for r in rows if r.method in METHODS}, reverse=True)
    for place, method in enumerate(METHODS):
        points = [r for r in rows if r.method == method]
        at = [segments.index(r.segments) + 0.28 * (place - 1) for r in points]
        bars = axis.bar(at, [r.top1 for r in points], 0.26, color=COLOURS[method], label=method)
        axis.bar_label(bars, fmt="%.2f", fontsize=7, color="white", label_type="center")
    axis.set_xticks(range(len(segments)), [str(s) for s in segments])
    axis.set(xlabel="segments a table", ylabel="top-1 (%)", ylim=(0, 1.15 * rows[0].top1))
    axis.legend(fontsize=7, loc="upper right", ncols=4)
    figure.tight_layout()
    return png(figure)


if __name__ == "__main__":
    main()
