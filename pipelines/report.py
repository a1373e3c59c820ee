"""A build's report: report.json for programs, report.md and pictures for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

REPORT = "report.json"
RESOURCES = {"lut4": "LUT4", "ff": "flip-flops", "dsp": "MULT18X18D", "bram": "DP16KD (18 kbit)", "io": "pins"}


def write_report(report: dict[str, Any], folder: Path) -> None:
    """report.md and its pictures, then report.json, whose presence says that the folder is whole."""
    if any(v is not None for v in report["accuracy"].values()):
        _plot_accuracy(report, folder / "accuracy.png")
    if report["resources"]:
        _plot_resources(report, folder / "resources.png")
    (folder / "report.md").write_text(markdown(report))
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n")


def markdown(report: dict[str, Any]) -> str:
    """The readable report."""
    parts = [f"# {report['source']}\n", headline(report) + "\n"]
    if report["folding"]:
        parts.append(_folding(report["folding"]))
    if report["resources"]:
        parts.append(_hardware(report))
    parts.append(_accuracy(report))
    if report["tables"]:
        parts.append(_tables(report))
    parts += [_ops(report), _passes(report)]
    if report["schedule"]:
        parts.append(_schedule(report))
    if report["simulation"]:
        parts.append(_simulation(report))
    parts.append(_table("Seconds", ("stage", "seconds"), [(k, f"{v:.1f}") for k, v in report["seconds"].items()]))
    return "\n".join(parts)


def headline(report: dict[str, Any]) -> str:
    """One paragraph: accuracy, exactness, speed."""
    config, cycles = report["config"], report["cycles_per_image"]
    last = list(report["accuracy"].values())[-1]
    wrong = sum(p["mismatches"] for p in report["passes"])
    sentences = [f"Top-1 {last:.2f} % on {report['test_images']} test images." if last is not None
                 else "Accuracy not measured (no classes at hand).",
                 f"{len(report['passes'])} passes, {wrong} mismatches."]  # fmt: skip
    rounded = report["requantization"]
    if rounded:
        sentences.append(f"{rounded['tensors']} tensors whose scales are no powers of two: at most {rounded['worst']:.1g} codes off before "
                         f"rounding, {rounded['rounded']} codes rounded otherwise on the checked inputs.")  # fmt: skip
    if cycles:
        sentences.append(f"Simulated RTL equal to the integer graph; {cycles:.0f} cycles per image, latency {report['latency_cycles']}.")
    if report["fmax_mhz"]:
        speed = f", {report['images_per_second']:.0f} images per second" if cycles else ""
        sentences.append(f"{config['device']} ({config['package']}, speed grade {config['speed']}): Fmax {report['fmax_mhz']:.1f} MHz, "
                         f"{config['mhz']:g} MHz asked{speed}.")  # fmt: skip
    return " ".join(sentences)


def _table(title: str, header: tuple[str, ...], rows: list[tuple]) -> str:
    lines = [f"## {title}\n", "| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""])


def _folding(folding: dict[str, Any]) -> str:
    rows = [(what, use["used"], use["available"], f"{100 * use['used'] / use['available']:.0f} %")
            for what, use in folding["estimate"].items()]  # fmt: skip
    text = f"{folding['cycles']} cycles per image; slowest: {folding['bottleneck']}; {folding['relief']}. "
    text += f"{folding['fabric_products']} products are made of LUTs.\n"
    return _table("Folding", ("estimate", "used", "available", ""), rows) + "\n" + text


def _hardware(report: dict[str, Any]) -> str:
    rows = [(RESOURCES[name], use["used"], use["available"], f"{100 * use['used'] / use['available']:.0f} %")
            for name, use in report["resources"].items() if name in RESOURCES]  # fmt: skip
    return _table("Resources", ("resource", "used", "available", ""), rows) + "\n![resources](resources.png)\n"


def _accuracy(report: dict[str, Any]) -> str:
    count = next((a["images"] for a in report["agreement"].values()), 0)
    rows = []
    for stage, top1 in report["accuracy"].items():
        agreement = report["agreement"][stage]
        shown = "not measured" if top1 is None else f"{top1:.2f} %"
        rows.append((stage, shown, agreement["different_predictions"], agreement["different_logits"]))
    kind = "test images" if report["test_images"] else "seeded random images or inputs (no classes at hand)"
    text = _table("Accuracy by stage", ("stage", "top-1", "other class than the first", "other logits than the first"), rows)
    entries = report["boundary_entries"]
    note = "" if entries is None else f"Table entries on a rounding boundary: {entries}.\n"
    picture = "![accuracy](accuracy.png)\n" if report["test_images"] else ""
    return f"{text}\nOn {count} {kind}. {note}\n{picture}"


def _ops(report: dict[str, Any]) -> str:
    """Nodes of each op type in each stage: what was streamlined away, and what came."""
    stages = report["ops"]
    kinds = sorted({op for ops in stages.values() for op in ops})
    rows = [(op, *(ops.get(op, "") for ops in stages.values())) for op in kinds]
    return _table("Ops by stage", ("op", *stages), [*rows, ("all", *(sum(ops.values()) for ops in stages.values()))])


def _tables(report: dict[str, Any]) -> str:
    rows = [(t["node"], t["rows"], t["entries"], f"{t['bits'] / 8192:.1f}", f"{t['full_bits'] / 8192:.1f}", t["worst"], f"{t['mean']:.3f}",
             "" if t["used_mean"] is None else f"{t['used_mean']:.3f}") for t in report["tables"]]  # fmt: skip
    header = ("table", "rows", "entries", "KiB", "full, KiB", "worst error", "mean error", "mean error as used")
    text = _table("Tables", header, rows)
    return f"{text}\nErrors in codes. Stages behind `integer` are compared with it, those before it with the first.\n"


def _passes(report: dict[str, Any]) -> str:
    rows = [(p["stage"], p["name"], p["mismatches"], p["nodes"], f"{p['seconds']:.2f}") for p in report["passes"]]
    images = report["config"]["check_images"]
    return _table(f"Passes, each checked on {images} images", ("stage", "pass", "mismatches", "nodes after", "seconds"), rows)


def _schedule(report: dict[str, Any]) -> str:
    foretold = report["schedule"]
    rows = [(step["node"], step["cycles"]) for step in foretold["latency"]]
    title = f"Latency foretold: {foretold['latency_cycles']} cycles to the first logit, an image every {foretold['cycles_per_image']}"
    return _table(title, ("waits for", "cycles"), rows)


def _simulation(report: dict[str, Any]) -> str:
    rows = [(name, run["images"], run["stalls"], run["compared"], run["mismatches"], run["cycles_per_image"], run["latency_cycles"])
            for name, run in report["simulation"].items()]  # fmt: skip
    header = ("run", "images", "stalls", "values compared", "mismatches", "cycles per image", "latency")
    return _table("Simulation of the RTL", header, rows)


def _plot_accuracy(report: dict[str, Any], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 3))
    stages = list(report["accuracy"])
    bars = axis.bar(stages, [report["accuracy"][s] for s in stages], color="#4878a8")
    axis.bar_label(bars, fmt="%.2f")
    axis.set(ylabel="top-1 (%)", ylim=(0, 100), title=f"accuracy by stage, {report['test_images']} images")
    _save(figure, path)


def _plot_resources(report: dict[str, Any], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 2.6))
    names = [n for n in RESOURCES if n in report["resources"]]
    shares = [100 * report["resources"][n]["used"] / report["resources"][n]["available"] for n in names]
    bars = axis.barh([RESOURCES[n] for n in names], shares, color="#4878a8")
    axis.bar_label(bars, [f"{report['resources'][n]['used']} of {report['resources'][n]['available']}" for n in names], padding=3)
    axis.set(xlabel="% of the device", xlim=(0, 125), title=report["config"]["device"])
    axis.invert_yaxis()
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
