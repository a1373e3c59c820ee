"""psaflow bench runtime: the network served in every way, beside a ReLU network of twice its hidden width.

All candidates run in turn, a fraction of a second each, round after round, so that what else runs on the machine slows
all alike; the time in which this thread waits for a CPU that another process holds is taken off where Linux tells it.
"""

from __future__ import annotations

import functools
import logging
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipelines.console import UserError, check_png, columns, command, png, progress, write_whole
from pipelines.images import IMAGE
from pipelines.serving import Run, integer_model, machine_threads, runtime_model

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from onnx import ModelProto

    from train.resmlp import AbsorbedResMLP

log = logging.getLogger(__name__)
DEFAULT = Path("checkpoints/lerp_psa_h96.pt")
RELU_HIDDEN = 192
CALIBRATION = 256  # random images for onnxruntime's own quantization
TURN = 0.05  # seconds that a candidate runs before the next one's turn; at least one run
WAITING = Path("/proc/thread-self/schedstat")  # Linux: nanoseconds that this thread ran, and waited for a CPU
FIRST = "int8_fused"


@dataclass
class Candidate:
    """One row of the result: a network in one form."""

    name: str
    network: str
    engine: str
    run: Run
    whole_batch: bool = True  # False: image by image
    seconds: dict[int, list[float]] = field(default_factory=dict)  # batch -> of each run
    waited: float = 0.0  # seconds in which other processes held the CPU, not part of the above


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    header = ("name", "images/s", "latency ms", "network", "engine")
    rows = [(r["name"], f"{r['images_per_second']:.0f}", f"{r['latency_ms']:.3f}", r["network"], r["engine"]) for r in result["rows"]]
    for line in columns([header, *rows], words=(0, 3, 4)):
        click.echo(line)
    click.echo(f"batch {result['batch']}, {result['threads']} threads, kernels on {result['isa'] or 'no instructions: none'}; "
               f"random images; {', '.join(result['untrained'])} with untrained weights")  # fmt: skip
    for name, ratio in result["times_as_fast"].items():
        click.echo(f"{FIRST}: {ratio:.1f} times the images per second of {name}")


@click.command("runtime")
@click.option("--model", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="A checkpoint, or an integer .onnx.")
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Images of a run, for images per second.")
@click.option("--threads", type=click.IntRange(1), help="Threads of every engine [all CPUs].")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="Per measurement.")
@click.option("--compile/--no-compile", "compiled", default=True, help="With PyTorch's compiler too (a minute).")
@click.option("--plot", type=click.Path(path_type=Path), help="Write bars of images per second and latency to this .png.")
@functools.partial(command, plain=show)
def main(model: Path, batch: int, threads: int | None, seconds: float, compiled: bool, plot: Path | None,
         data: Path | None) -> dict[str, Any]:  # fmt: skip
    """Images per second and latency of one image: our integer graph, float32, onnxruntime's INT8, PyTorch, numpy.

    Needs no images: random ones take as long.
    """
    check_png(plot)
    threads = threads or machine_threads()
    images = np.random.default_rng(0).integers(0, 256, (batch, *IMAGE), np.uint8)
    found, isa = candidates(model, images, threads, compiled)
    measure(found, images, seconds)
    rows = [_row(candidate, threads, batch) for candidate in found]
    fastest = rows[0]["images_per_second"]
    result = {"model": str(model), "batch": batch, "threads": threads, "isa": isa, "seconds": seconds, "rows": rows,
              "untrained": [f"relu_h{RELU_HIDDEN}"],
              "times_as_fast": {row["name"]: fastest / row["images_per_second"] for row in rows[1:]}}  # fmt: skip
    if plot is not None:
        write_whole(plot, _bars(result))
    return result


def candidates(source: Path, images: np.ndarray, threads: int, compiled: bool) -> tuple[list[Candidate], str | None]:
    """All rows, and the instructions that the kernels use; the integer forms are compared on `images` before anything is timed."""
    import torch

    from custom_ops.kernels import isa
    from custom_ops.runtime import kernels_of, session
    from pipelines.numpy_graph import reference_of
    from train.resmlp import Architecture, ResMLP, absorb

    torch.set_num_threads(threads)
    name = source.stem
    integer = integer_model(source)
    fused = session(runtime_model(integer), threads=threads)
    found = [
        Candidate(FIRST, name, "onnxruntime, fused kernels", runner(fused)),
        Candidate("int8_single", name, "onnxruntime, single kernels", runner(session(integer, threads=threads))),
        Candidate("int8_bodies", name, "onnxruntime, function bodies", runner(session(integer, kernels=False, threads=threads))),
        Candidate("int8_numpy", name, "numpy, image by image", reference_of(integer), whole_batch=False),
    ]
    _require_equal(found, images)
    if source.suffix != ".onnx":
        found += _float_rows("", name, _absorbed(source), threads, compiled)
    torch.manual_seed(0)
    relu = absorb(ResMLP(Architecture(activation="relu", hidden=RELU_HIDDEN)).eval())
    found += _float_rows("relu_", f"relu_h{RELU_HIDDEN}", relu, threads, compiled, int8=True)
    return found, isa() if kernels_of(fused) else None


def _absorbed(source: Path) -> AbsorbedResMLP:
    from train.resmlp import ResMLP, absorb
    from train.run import load_float

    network, _ = load_float(source)
    if not isinstance(network, ResMLP):
        raise UserError(f"{source}: holds no ResMLP, and only that is compared here")
    return absorb(network.eval())


def _float_rows(prefix: str, network: str, model: AbsorbedResMLP, threads: int, compiled: bool, *, int8: bool = False) -> list[Candidate]:
    """A float network in onnxruntime and PyTorch, its BatchNorms and affines absorbed; with `int8` quantized by onnxruntime too."""
    import torch

    from pipelines.float_graph import float_graph, quantized_by_onnxruntime

    def by(module: Callable[[torch.Tensor], torch.Tensor]) -> Run:
        def run(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return module(torch.from_numpy(images)).numpy()

        return run

    graph = float_graph(model)
    found = [Candidate(f"{prefix}float32", network, "onnxruntime, float32", runner(_plain_session(graph, threads)))]
    if int8:
        images = np.random.default_rng(2).integers(0, 256, (CALIBRATION, *IMAGE), np.uint8)
        quantized = quantized_by_onnxruntime(graph, images)
        found.append(Candidate(f"{prefix}int8_qdq", network, "onnxruntime, its own INT8", runner(_plain_session(quantized, threads))))
    found.append(Candidate(f"{prefix}torch", network, "PyTorch, eager", by(model)))
    if compiled:
        found.append(Candidate(f"{prefix}torch_compiled", network, "PyTorch, compiled", by(torch.compile(model, dynamic=False))))
    return found


def _plain_session(model: ModelProto, threads: int) -> Any:
    """onnxruntime with all its own rewrites, those that change how floats round included, and our kernels where they serve."""
    import onnxruntime

    from custom_ops.kernels import KernelError, library

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        options.register_custom_ops_library(str(library()))
    except KernelError as error:
        log.warning("no kernels, function bodies instead: %s", error)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def runner(opened: Any) -> Run:
    """A session as a function from its input to its first output."""
    name = opened.get_inputs()[0].name
    return lambda images: opened.run(None, {name: images})[0]


def _require_equal(found: list[Candidate], images: np.ndarray) -> None:
    """Refuses to time forms of the integer graph that do not give the same logits."""
    expected = found[0].run(images)
    for candidate in found[1:]:
        differ = int((candidate.run(images) != expected).sum())
        if differ:
            raise UserError(f"{candidate.name}: {differ} of {expected.size} logits differ from those of {FIRST}")


def measure(found: list[Candidate], images: np.ndarray, seconds: float, sizes: Collection[int] | None = None) -> None:
    """Times every candidate for `seconds` on each of `sizes` images [all at once, and one]."""
    batches = [(candidate, size) for size in sorted(sizes or {len(images), 1}) for candidate in found if size == 1 or candidate.whole_batch]
    for candidate, size in batches:
        candidate.seconds[size] = []
        for _ in range(2):  # compiles, allocates
            candidate.run(images[:size])
    with progress(seconds * len(batches), "bench", "s") as bar:
        left = {id(candidate): {size: seconds for c, size in batches if c is candidate} for candidate in found}
        while any(rest > 0 for sizes in left.values() for rest in sizes.values()):
            for candidate, size in batches:
                rest = left[id(candidate)][size]
                if rest > 0:
                    spent = _turn(candidate, images[:size], min(TURN, rest))
                    left[id(candidate)][size] -= spent
                    bar.update(min(spent, rest))


def _turn(candidate: Candidate, images: np.ndarray, seconds: float) -> float:
    """Runs for `seconds`, at least once; returns what it took."""
    candidate.run(images)  # brings its weights and its threads back
    begun = time.perf_counter()
    while True:
        waited, started = _waited(), time.perf_counter()
        candidate.run(images)
        ended = time.perf_counter()
        waited = _waited() - waited
        candidate.seconds[len(images)].append(max(ended - started - waited, 0.0))
        candidate.waited += waited
        if ended - begun >= seconds:
            return ended - begun


def _waited() -> float:
    """Seconds that this thread has waited for a CPU that others held; 0 where the system does not say."""
    try:
        return int(WAITING.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _row(candidate: Candidate, threads: int, batch: int) -> dict[str, Any]:
    size = batch if candidate.whole_batch else 1
    return {
        "name": candidate.name, "network": candidate.network, "engine": candidate.engine,
        "images_per_second": size / statistics.median(candidate.seconds[size]),
        "latency_ms": statistics.median(candidate.seconds[1]) * 1e3,
        "threads": threads if candidate.whole_batch else 1, "waited_seconds": candidate.waited,
    }  # fmt: skip


def _bars(result: dict[str, Any]) -> bytes:
    """A .png: images per second and latency, both on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = result["rows"]
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.4 * len(rows) + 1.4), sharey=True)
    for axis, key, label in zip(axes, ("images_per_second", "latency_ms"), ("images per second", "latency of one image (ms)"), strict=True):
        colours = ["#b04040" if row["name"] == FIRST else "#4878a8" for row in rows]
        bars = axis.barh([f"{row['network']}: {row['engine']}" for row in rows], [row[key] for row in rows], color=colours)
        axis.bar_label(bars, [f"{row[key]:,.0f}" if row[key] >= 100 else f"{row[key]:.3g}" for row in rows], padding=3)
        axis.set(xscale="log", xlabel=label)
        axis.margins(x=0.25)
    axes[0].invert_yaxis()
    figure.suptitle(f"batch {result['batch']}, {result['threads']} threads")
    figure.tight_layout()
    return png(figure)


if __name__ == "__main__":
    main()
