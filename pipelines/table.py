"""psaflow table: checkpoints beside the article's accuracies, activation by hidden width."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines import article
from pipelines.console import Mismatch, UserError, check_png, command, png, write_whole

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from train.data import Cifar10

log = logging.getLogger(__name__)
FOLDERS = ("checkpoints", "runs")  # searched where no path is given
UNFINISHED = "last_"  # start of the names of states that `psaflow train` resumes from
TOLERANCE = 0.1  # points of top-1; float sums are added in another order on another machine, which moves a few images
MARKER = "<!-- written by psaflow table -->"  # first line of a file that says: ours to replace
HEADER = ("activation", "hidden", "article float", "ours float", "difference", "article INT8", "ours INT8", "quantization loss", "file")
WORDS = (0, 8)  # columns of words; the others are numbers
OPEN = "-"
BARS = (("article_float", "article, float", "#a8c4e0"), ("float_top1", "ours, float", "#2f5f8f"),
        ("article_int8", "article, INT8", "#f0c8a0"), ("int8_top1", "ours, INT8", "#c06820"))  # fmt: skip

Cell = tuple[str, int]  # activation, hidden


@dataclass(frozen=True)
class Entry:
    """A checkpoint: what it is, and its top-1 in percent where that is known."""

    file: str
    name: str
    model: str  # in words
    cell: Cell | None  # of the table; None where it fits none
    grid: int | None  # points of its functions, where they have a grid
    quantized: bool  # a finished student; a teacher has float weights only
    float_top1: float | None
    int8_top1: float | None
    test_images: int | None  # that the accuracies were measured on

    @property
    def whole(self) -> bool:
        """Measured on all test images."""
        return self.test_images is not None and self.test_images >= article.TEST_IMAGES

    @property
    def measured(self) -> bool:
        return self.float_top1 is not None or self.int8_top1 is not None

    def summary(self) -> str:
        """Its accuracies in words."""
        parts = [f"{label} {value:.2f} %" for label, value in (("float", self.float_top1), ("INT8", self.int8_top1)) if value is not None]
        return ", ".join(parts) + (OPEN if not parts else "" if self.whole else "*")


def show(result: dict[str, Any]) -> None:
    """The table in columns, notes below."""
    lines = [HEADER, *map(cells, result["rows"])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    for number, line in enumerate(lines):
        padded = [text.ljust(width) if i in WORDS else text.rjust(width) for i, (text, width) in enumerate(zip(line, widths, strict=True))]
        if number and (difference := result["rows"][number - 1]["difference"]) is not None:
            padded[4] = click.style(padded[4], fg="green" if difference >= 0 else "red")
        click.echo(click.style("  ".join(padded).rstrip(), bold=True) if not number else "  ".join(padded).rstrip())
    click.echo()
    for note in notes(result):
        click.echo(note)


@click.command("table")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--evaluate", is_flag=True, help="Measure on the test images again; exit status 1 where that differs from what is stored.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table to this file too.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw the accuracies as bars into this .png.")
@functools.partial(command, plain=show)
def main(paths: tuple[Path, ...], evaluate: bool, markdown: Path | None, picture: Path | None, data: Path | None) -> dict[str, Any]:
    """The article's table of accuracies with ours beside them.

    PATHS are checkpoints, or folders that are searched for them [checkpoints and runs].
    """
    check_png(picture)
    for option, target in (("--markdown", markdown), ("--plot", picture)):
        if target is not None:
            _check_target(option, target)
    cifar = None
    if evaluate:
        from train.data import load_cifar10

        cifar = load_cifar10(data)
    entries, passed_over, differences = collect(paths, cifar)
    result = tabulate(entries) | {"passed_over": passed_over, "differences": differences}
    if differences:
        raise Mismatch("; ".join(differences), result)
    if markdown is not None:
        _write("--markdown", markdown, as_markdown(result).encode())
    if picture is not None:
        _write("--plot", picture, draw(result["rows"]))
    return result


def find(paths: Sequence[Path]) -> dict[Path, bool]:
    """Files that may be checkpoints, each once, in order; True for those that were named themselves."""
    found: dict[Path, tuple[Path, bool]] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.pt") if p.is_file() and not p.name.startswith(UNFINISHED))
            for file in inside:
                found.setdefault(file.resolve(), (file, False))
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder; name checkpoints (.pt) or folders that hold some")
        elif path.name.startswith(UNFINISHED):
            raise UserError(f"{path}: the state of an unfinished run; finish it with `psaflow train --resume` and name its checkpoint")
        else:
            found[path.resolve()] = (path, True)
    return dict(found.values())


def collect(paths: Sequence[Path], cifar: Cifar10 | None = None) -> tuple[list[Entry], list[str], list[str]]:
    """(the checkpoints at `paths`, files that are none, differences of what is stored from what is measured).

    The accuracies are the stored ones, or those measured on the test images of `cifar`. CheckpointError where a file
    that was named is no checkpoint; in folders, others' .pt files are passed over with a warning.
    """
    from train.checkpoint import CheckpointError
    from train.recipe import ConfigError

    places = list(paths) or [Path(folder) for folder in FOLDERS if Path(folder).is_dir()]
    entries: list[Entry] = []
    passed_over: list[str] = []
    differences: list[str] = []
    for path, named in find(places).items():
        try:
            entry = read(path)
            measured = entry if cifar is None else measure(entry, cifar)
        except (CheckpointError, ConfigError) as error:
            if named:
                raise
            log.warning("passed over: %s", " ".join(str(error).split()))
            passed_over.append(str(path))
            continue
        entries.append(measured)
        differences += compare(entry, measured)
    if not entries:
        where = ", ".join(map(str, places)) or " or ".join(FOLDERS)
        others = f" ({len(passed_over)} other .pt files)" if passed_over else ""
        raise UserError(f"{where}: no checkpoint found{others}; train one with `psaflow train RECIPE.yaml` or name its folder")
    return entries, passed_over, differences


def read(path: Path) -> Entry:
    """What a checkpoint says about itself; nothing that it does not say is assumed."""
    from train import checkpoint

    content = checkpoint.load(path)
    recipe, metrics = content.get("recipe", {}), content.get("metrics", {})
    model = recipe.get("model")
    model = model if isinstance(model, dict) else {}
    top1 = {}
    for key in ("float_top1", "int8_top1"):
        value = metrics.get(key)
        if value is not None and not 0 <= value <= 100:
            raise checkpoint.CheckpointError(f"{path}: its {key} is {value}, not a percentage; train or fetch it again")
        top1[key] = None if value is None else float(value)
    images = metrics.get("test_images")
    known = images is not None and math.isfinite(images) and images >= 1
    grid = model.get("grid") if model.get("activation") in ("bspline", "lerp_psa") else None
    return Entry(str(path), str(recipe.get("name") or path.stem), describe(model), cell_of(model), grid if isinstance(grid, int) else None,
                 "quantized" in content or top1["int8_top1"] is not None, top1["float_top1"], top1["int8_top1"],
                 int(images) if known else None)  # fmt: skip


def cell_of(model: dict[str, Any]) -> Cell | None:
    """The cell of the table that a recipe's model fills, if it is one of the article's ResMLPs."""
    activation, hidden = model.get("activation"), model.get("hidden")
    resmlp = model.get("kind", "resmlp") == "resmlp"  # a cnn's recipe has the other keys too, at their defaults
    if not resmlp or (model.get("embed"), model.get("blocks")) != (article.EMBED, article.BLOCKS):
        return None
    return next(((a, h) for a in article.ACTIVATIONS for h in article.HIDDEN if (a, h) == (activation, hidden)), None)


def describe(model: dict[str, Any]) -> str:
    """A recipe's model in words."""
    if model.get("kind", "resmlp") != "resmlp":
        return f"{model['kind']}, width {model.get('width', '?')}"
    if not model:
        return "unknown model"
    activation = model.get("activation", "?")
    return (f"ResMLP {article.ACTIVATIONS.get(str(activation), activation)}, embed {model.get('embed', '?')}, "
            f"hidden {model.get('hidden', '?')}, {model.get('blocks', '?')} blocks")  # fmt: skip


def measure(entry: Entry, cifar: Cifar10) -> Entry:
    """The same with top-1 on the test images in place of what is stored."""
    from train.loop import accuracy
    from train.run import load_float, load_quantized

    floating = accuracy(load_float(entry.file)[0], cifar.x_test, cifar.y_test)
    integer = accuracy(load_quantized(entry.file)[0], cifar.x_test, cifar.y_test) if entry.quantized else None
    measured = replace(entry, float_top1=floating, int8_top1=integer, test_images=len(cifar.x_test))
    log.info("%s: measured %s", entry.file, measured.summary())
    return measured


def compare(stored: Entry, measured: Entry) -> list[str]:
    """Where a stored accuracy is not the measured one; only what both have, on as many images, can be compared."""
    if not stored.measured:
        return []
    if stored.test_images != measured.test_images:
        log.warning("%s: stored top-1 is of %s test images, measured on %d; not compared", stored.file,
                    stored.test_images or "an unknown number of", measured.test_images)  # fmt: skip
        return []
    pairs = (("float", stored.float_top1, measured.float_top1), ("INT8", stored.int8_top1, measured.int8_top1))
    return [f"{stored.file}: {label} top-1 is {now:.2f} %, the checkpoint says {before:.2f} %"
            for label, before, now in pairs if before is not None and now is not None and abs(now - before) > TOLERANCE]  # fmt: skip


def tabulate(entries: list[Entry]) -> dict[str, Any]:
    """What --json prints: a row per cell, and the checkpoints that are in none.

    Of several in one cell the best INT8 is shown, those measured on all test images first.
    """
    rows, not_shown = [], []
    for activation in article.ACTIVATIONS:
        for hidden in article.HIDDEN:
            cell = (activation, hidden)
            ranked = sorted((e for e in entries if e.cell == cell), key=_rank, reverse=True)  # a stable order: of equals, the first found
            rows.append(_row(cell, ranked[0] if ranked else None))
            not_shown += [_plain(e) | {"shown": ranked[0].file} for e in ranked[1:]]
    outside = [e for e in entries if e.cell is None]
    return {"rows": rows, "not_shown": not_shown, "teachers": [_plain(e) for e in outside if not e.quantized],
            "others": [_plain(e) for e in outside if e.quantized]}  # fmt: skip


def _rank(entry: Entry) -> tuple[bool, float, float]:
    return entry.whole, -1.0 if entry.int8_top1 is None else entry.int8_top1, -1.0 if entry.float_top1 is None else entry.float_top1


def _plain(entry: Entry) -> dict[str, Any]:
    fields = asdict(entry)
    del fields["cell"], fields["quantized"]
    return fields | {"partial": entry.measured and not entry.whole, "summary": entry.summary()}


def _row(cell: Cell, entry: Entry | None) -> dict[str, Any]:
    published = article.FLOAT.get(cell)
    floating, integer = (None, None) if entry is None else (entry.float_top1, entry.int8_top1)
    return {
        "activation": cell[0], "hidden": cell[1], "article_float": published, "float_top1": floating,
        "difference": _minus(floating, published), "article_int8": article.INT8.get(cell), "int8_top1": integer,
        "quantization_loss": _minus(floating, integer), "test_images": entry and entry.test_images,
        "partial": entry is not None and entry.measured and not entry.whole, "grid": entry and entry.grid,
        "file": entry and entry.file,
    }  # fmt: skip


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else round(a - b, 4)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row's texts, as HEADER names them; what is unknown is open."""
    mark = "*" if row["partial"] else ""

    def number(key: str, form: str, end: str = "") -> str:
        return OPEN if row[key] is None else format(row[key], form) + end

    note = f" (grid {row['grid']})" if row["grid"] not in (None, article.GRID) else ""
    return (article.ACTIVATIONS[row["activation"]], str(row["hidden"]), number("article_float", ".1f"), number("float_top1", ".2f", mark),
            number("difference", "+.2f", mark), number("article_int8", ".1f"), number("int8_top1", ".2f", mark),
            number("quantization_loss", ".2f", mark), (row["file"] or OPEN) + note)  # fmt: skip


def notes(result: dict[str, Any]) -> list[str]:
    """Lines below the table: what the numbers are, marks, and the checkpoints that it does not show."""
    rows = result["rows"]
    filled = sum(row["file"] is not None for row in rows)
    lines = [f"Top-1 (%) on CIFAR-10's test images; article: {article.CITATION}. {filled} of {len(rows)} cells have a checkpoint."]
    below = [*result["not_shown"], *result["teachers"], *result["others"]]
    partial = [f"{e['file']} ({e['test_images'] or 'unknown'})" for e in [*rows, *below] if e["partial"]]
    if partial:
        lines.append(f"* measured on fewer than {article.TEST_IMAGES:,} test images, or nobody knows on how many: {', '.join(partial)}")
    lines += [f"teacher: {_line(e)}" for e in result["teachers"]]
    lines += [f"not shown, its cell holds {e['shown']}: {_line(e)}" for e in result["not_shown"]]
    return lines + [f"fits no cell: {_line(e)}" for e in result["others"]]


def _line(entry: dict[str, Any]) -> str:
    return f"{entry['name']} ({entry['model']}), {entry['summary']}, {entry['file']}"


def as_markdown(result: dict[str, Any]) -> str:
    """The table and its notes for a README."""
    lines = [HEADER, tuple("---" if i in WORDS else "--:" for i in range(len(HEADER))), *map(cells, result["rows"])]
    table = ["| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines]
    return "\n".join([MARKER, "", *table, "", *(f"- {_escaped(note)}" for note in notes(result)), ""])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def draw(rows: list[dict[str, Any]]) -> bytes:
    """A PNG of grouped bars, four for each cell that has a figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if any(row[key] is not None for key, _, _ in BARS)]
    low = min(row[key] for row in shown for key, _, _ in BARS if row[key] is not None)
    floor = max(0, 10 * math.floor((low - 2) / 10))
    figure, axis = plt.subplots(figsize=(2 + 0.85 * len(shown), 4.2))
    for place, (key, label, colour) in enumerate(BARS):
        present = [(i, row) for i, row in enumerate(shown) if row[key] is not None]
        marks = ["*" if row["partial"] and not key.startswith("article") else "" for _, row in present]
        bars = axis.bar([i + 0.21 * (place - 1.5) for i, _ in present], [row[key] for _, row in present], 0.2, label=label, color=colour)
        axis.bar_label(bars, [f"{row[key]:.1f}{mark}" for (_, row), mark in zip(present, marks, strict=True)], rotation=90, fontsize=6,
                       padding=2)  # fmt: skip
    axis.set_xticks(range(len(shown)), [f"{article.ACTIVATIONS[row['activation']]}\n{row['hidden']}" for row in shown], fontsize=8)
    star = f"    * fewer than {article.TEST_IMAGES:,} test images" if any(row["partial"] for row in shown) else ""
    axis.set(ylabel="top-1 (%)" + (f", axis from {floor}" if floor else ""), ylim=(floor, 100), xlim=(-0.6, len(shown) - 0.4),
             xlabel="activation, hidden width" + star)  # fmt: skip
    axis.legend(ncols=4, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.tight_layout()
    return png(figure)


def _check_target(option: str, path: Path) -> None:
    """Before the work: can `path` be written, and may it be?"""
    if path.is_dir():
        raise UserError(f"{option} {path}: is a folder; name a file")
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{option} {path}: cannot be written, {parent} is {'not writable' if parent.is_dir() else 'no folder'}")
    if option == "--markdown" and path.exists() and not path.read_bytes().startswith(MARKER.encode()):
        raise UserError(f"{option} {path}: exists and holds something else than a table of ours; name another file")


def _write(option: str, path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror})") from None


if __name__ == "__main__":
    main()
