"""psaflow bench kernels: the article's benchmark of activations, training steps of 4 x (activation + Linear).

All candidates take one step in turn, round after round, so that what else runs on the machine slows all alike.
"""

from __future__ import annotations

import functools
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from pipelines.console import UserError, check_png, columns, command, png, progress, torch_device, write_whole

if TYPE_CHECKING:  # imported where it is used, so that --help is quick
    from torch import Tensor, nn

LAYERS, GRID, EXPANSION, BOUND = 4, 64, 8, 4.0  # the article's
ACTIVATIONS = ("none", "relu", "gelu", "bspline", "bspline_plain", "psa", "lerp_psa", "lerp_psa_plain")
ALONE = ("lerp", "lerp_plain")  # the interpolation by itself, forward and backward
MIB = 2**20
LIMIT = 8 * 2**30  # bytes that exact PSA may need


@dataclass
class Candidate:
    """One row of the result: `step` takes one training step."""

    name: str
    save_memory: bool
    step: Callable[[], None] | None  # None: skipped
    resident: int = 0  # bytes held before a step: parameters and input
    skipped: str | None = None
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0  # MiB


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    shown = [("name", "save_memory", "median ms", "peak MiB")]
    for row in result["rows"]:
        numbers = ("skipped", row["skipped"]) if row["skipped"] else (f"{row['median_ms']:.1f}", f"{row['peak_mib']:.0f}")
        shown.append((row["name"], "on" if row["save_memory"] else "off", *numbers))
    for line in columns(shown, words=(0, 1)):
        click.echo(line)
    for name, ratio in result["times_as_fast"].items():
        click.echo(f"{name}: {ratio:.1f} times as fast as {name}_plain")
    click.echo(f"{result['layers']} x (activation + Linear {result['width']}), {result['batch_rows']} rows, grid {result['grid']}, "
               f"expansion {result['expansion']}, {result['device']}, {result['threads']} threads")  # fmt: skip


@click.command("kernels")
@click.option("--rows", type=int, default=8192, show_default=True, help="Rows of a batch; the article has 16 x 512.")
@click.option("--width", type=int, default=768, show_default=True, help="Channels.")
@click.option("--steps", type=int, default=10, show_default=True, help="Timed steps per row of the result.")
@click.option("--threads", type=int, help="CPU threads [as many as PyTorch takes].")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto: a GPU where there is one.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write bars of time and memory to this .png.")
@functools.partial(command, plain=show)
def main(rows: int, width: int, steps: int, threads: int | None, device: str, plot: Path | None, data: Path | None) -> dict[str, Any]:
    """Median time of a training step and its peak memory, for every activation; needs no images.

    `lerp` and `lerp_plain` are the interpolation alone, forward and backward; `_plain` is straightforward PyTorch under
    autograd. With save_memory only the input of each (activation + Linear) is kept and the activation is computed again.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of its starts and stops on stderr otherwise
    for option, value in (("rows", rows), ("width", width), ("steps", steps), ("threads", threads)):
        if value is not None and value < 1:
            raise UserError(f"--{option} {value}: must be at least 1")
    device = torch_device(device).type
    check_png(plot)
    with _threads(threads) as used:
        measurements = measure(candidates(rows, width, device), steps, device)
    result = {"device": device, "threads": used, "batch_rows": rows, "width": width, "layers": LAYERS, "grid": GRID,
              "expansion": EXPANSION, "steps": steps, "rows": measurements, "times_as_fast": _ratios(measurements)}  # fmt: skip
    if plot is not None:
        write_whole(plot, _bars(result))
    return result


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield count or before
    finally:
        torch.set_num_threads(before)


def _activation(name: str, width: int) -> nn.Module:
    from torch import nn

    from train.functions import BSpline, LerpPSA, activation
    from train.lerp import lerp_reference

    class PlainLerpPSA(LerpPSA):
        def evaluate(self, x: Tensor) -> Tensor:
            return lerp_reference(self.table(), x, self.bound)

    class PlainBSpline(BSpline):
        def forward(self, x: Tensor) -> Tensor:
            return lerp_reference(self.knots, x, self.bound)

    if name == "lerp_psa_plain":
        return PlainLerpPSA(width, EXPANSION, grid=GRID, bound=BOUND)
    if name == "bspline_plain":
        return PlainBSpline(width, knots=GRID + 1, bound=BOUND)
    if name in ("none", "gelu"):
        return nn.Identity() if name == "none" else nn.GELU()
    return activation(name, width, grid=GRID, expansion=EXPANSION, bound=BOUND)


def candidates(rows: int, width: int, device: str) -> list[Candidate]:
    """Every activation with save_memory off and on, then the interpolation alone; the same input for all."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(rows, width, device=device)
    grad = torch.randn(rows, width, device=device) / rows
    found = []
    for name in ACTIVATIONS:
        for save_memory in (False, True):
            expanded = 4 * rows * width * EXPANSION  # bytes of one [rows, width, E] tensor: three are kept, four in work
            need = expanded * (3 * (1 if save_memory else LAYERS) + 4)
            if name == "psa" and need > LIMIT:
                why = f"needs about {need / 2**30:.0f} GiB, more than {LIMIT / 2**30:.0f}; fewer --rows fit"
                found.append(Candidate(name, save_memory, None, skipped=why))
            else:
                found.append(_network(name, save_memory, x, grad))
    return found + [_interpolation(name, x, grad) for name in ALONE]


def _network(name: str, save_memory: bool, x: Tensor, grad: Tensor) -> Candidate:
    """One training step: forward, backward from a fixed gradient, plain SGD."""
    import torch
    from torch import nn

    from train.functions import Recomputed

    width, row = x.shape[1], Recomputed if save_memory else nn.Sequential
    torch.manual_seed(0)
    network = nn.Sequential(*(row(_activation(name, width), nn.Linear(width, width)) for _ in range(LAYERS))).to(x.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    leaf = x.detach().requires_grad_()  # as inside a network, where the first activation's input wants its gradient

    def step() -> None:
        network(leaf).backward(grad)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        leaf.grad = None

    return Candidate(name, save_memory, step, resident=_bytes(x, grad, *network.parameters()))


def _interpolation(name: str, x: Tensor, grad: Tensor) -> Candidate:
    import torch

    from train.lerp import lerp, lerp_reference

    function = lerp if name == "lerp" else lerp_reference
    table = torch.randn(x.shape[1], GRID, device=x.device).requires_grad_()
    leaf = x.detach().requires_grad_()

    def step() -> None:
        function(table, leaf, BOUND).backward(grad)
        table.grad = leaf.grad = None

    return Candidate(name, False, step, resident=_bytes(x, grad, table))


def _bytes(*tensors: Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def measure(found: list[Candidate], steps: int, device: str) -> list[dict[str, Any]]:
    """The result's rows: name, save_memory, median_ms, peak_mib, and why one was skipped."""
    import torch

    running = [(c, c.step) for c in found if c.step is not None]
    with progress((steps + 2) * len(running), "bench", "step") as bar:
        for candidate, step in running:
            step()  # compiles kernels, fills the allocator
            peak = _peak_on_gpu(step) if device == "cuda" else _peak_on_cpu(step)
            candidate.peak = (peak + candidate.resident) / MIB
            bar.update(2)
        gc.collect()
        for _ in range(steps):
            for candidate, step in running:
                start = time.perf_counter()
                step()
                if device == "cuda":
                    torch.cuda.synchronize()
                candidate.seconds.append(time.perf_counter() - start)
                bar.update()
    return [_row(candidate) for candidate in found]


def _row(candidate: Candidate) -> dict[str, Any]:
    measured = candidate.step is not None
    return {
        "name": candidate.name, "save_memory": candidate.save_memory, "skipped": candidate.skipped,
        "median_ms": median(candidate.seconds) * 1e3 if measured else None, "peak_mib": candidate.peak if measured else None,
    }  # fmt: skip


def _peak_on_cpu(step: Callable[[], None]) -> int:
    """Bytes: the most that was allocated at one time during a step, beyond what was there before it.

    From the profiler's events of PyTorch's CPU allocator, which serves every tensor: those that autograd keeps, those of
    our op, and those that live only inside an operator. The process's resident size would hold freed memory as well.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=False) as profiler:
        step()
    results = profiler.profiler.kineto_results  # the public tables sum per operator and do not show a peak
    events = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    live = peak = 0
    for _, allocated in events:
        live += allocated
        peak = max(peak, live)
    return peak


def _peak_on_gpu(step: Callable[[], None]) -> int:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()  # of all candidates
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as fast as plain PyTorch each of ours is, save_memory off."""
    times = {row["name"]: row["median_ms"] for row in rows if not row["save_memory"]}
    return {name: times[f"{name}_plain"] / times[name] for name in ("lerp", "bspline", "lerp_psa")}


def _bars(result: dict[str, Any]) -> bytes:
    """Bars of time and of memory as a .png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in result["rows"] if not row["skipped"] and row["name"] not in ALONE]
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), constrained_layout=True)
    for axis, key, unit in zip(axes, ("median_ms", "peak_mib"), ("ms per training step", "MiB at the peak"), strict=True):
        for save_memory, shift, colour in ((False, -0.2, "#2f5f8f"), (True, 0.2, "#c06820")):
            own = {row["name"]: row[key] for row in rows if row["save_memory"] == save_memory}
            places = [names.index(name) + shift for name in own]
            axis.barh(places, list(own.values()), 0.4, color=colour, label=f"save_memory {'on' if save_memory else 'off'}")
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel(unit)
    axes[0].legend()
    figure.suptitle(f"{result['layers']} x (activation + Linear {result['width']}), {result['batch_rows']} rows, {result['device']}")
    return png(figure)


if __name__ == "__main__":
    main()
