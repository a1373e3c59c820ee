"""Run an emitted accelerator on images, cycle by cycle, and compare every link with the reference tensors."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accel.synth.netlist import read_design
from accel.verilate import Beats, Progress, Run, SimulationError, Stream, Tap, build

log = logging.getLogger(__name__)

_SIGNED: dict[int, np.dtype] = {8: np.dtype(np.int8), 32: np.dtype("<i4")}  # of an element by its bits


@dataclass(frozen=True)
class Wrong:
    """One element that differs: `index` is its place in the tensor of image number `image`."""

    node: str
    tensor: str
    image: int
    index: tuple[int, ...]
    expected: int
    got: int | None  # None: the stream ended before it

    def __str__(self) -> str:
        got = "nothing" if self.got is None else self.got
        return (
            f"{self.node}: {self.tensor} of image {self.image} at {list(self.index)}: "
            f"expected {self.expected}, got {got}"
        )


@dataclass(frozen=True)
class Simulation:
    """What a run showed. Cycles are clock cycles; an element is one number of a tensor."""

    logits: np.ndarray  # [images, classes], int32 or int8
    compared: int  # elements
    mismatches: int  # elements
    link_mismatches: dict[str, int]  # per tensor that was compared, in the order of the design
    not_compared: tuple[str, ...]  # tensors of links without a reference
    first_wrong: Wrong | None  # in the first wrong link, its first wrong element
    cycles: int  # of the whole run
    cycles_per_image: (
        float | None
    )  # between the last logits of consecutive images, once filled; None: one image
    ends: np.ndarray  # int64 [images], cycle in which each image's last logit left
    latency_cycles: int  # from the first byte of image 0 to its first logit
    seconds: float  # wall clock of the simulation alone


def simulate(
    folder: Path,
    images: np.ndarray,
    references: Mapping[str, np.ndarray],
    seed: int = 0,
    stalls: float = 0.0,
    taps: bool = True,
    pauses: Mapping[str, tuple[int, int]] | None = None,
    work: Path | None = None,
    idle_cycles: int = 1_000_000,
    timeout_seconds: float | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Feed `images` uint8 [n, 32, 32, 3] to the design in `folder`/rtl and compare what passes each link.

    references: {tensor: integers [n, ...]} for any of the design's tensors, element order as in the stream
    (tokens outer, channels inner). stalls: chance in a cycle that the source or the sink waits. pauses: {"s_axis" or "m_axis": (from,
    until)}, cycles in which the source or the sink does. taps: False
    observes only the logits, and is faster. work: folder of the compiled models (default: `folder`/sim).
    SimulationError at a deadlock, a protocol violation or a wrong TLAST; ValueError where shapes do not fit.
    """
    rtl = Path(folder) / "rtl"
    design = read_design(rtl, "input", "output", "links")
    feed = _feed(design["input"], images)
    links = _links(design, taps)
    simulator = build(
        sources(design, rtl),
        design["top"],
        Path(work) if work is not None else Path(folder) / "sim",
        [Stream("s_axis", feed.shape[1], packet=design["input"]["beats_per_image"])],
        [Stream("m_axis", _bytes(design["output"]))],
        [Tap(link["signal"], _bytes(link)) for link in links[:-1]],
        cwd=rtl,
    )
    beats = len(images) * design["output"]["beats_per_image"]
    run = simulator.run(
        {"s_axis": feed},
        {"m_axis": beats},
        seed,
        1.0 - stalls,
        1.0 - stalls,
        pauses,
        idle_cycles=idle_cycles,
        timeout_seconds=timeout_seconds,
        progress=progress,
    )
    log.info("%d images, %d cycles, %.0f kcycles/s", len(images), run.cycles, run.cycles / 1000 / run.seconds)
    return _judge(design, links, run, references, len(images))


def sources(design: Mapping, rtl: Path) -> list[Path]:
    """Every source file of the design in the folder `rtl`, the top last, each once."""
    names = dict.fromkeys(name for module in design["modules"] for name in module["sources"])
    names.pop(f"{design['top']}.sv", None)
    return [rtl / name for name in (*names, f"{design['top']}.sv")]


def _bytes(stream: Mapping) -> int:
    return stream["lanes"] * stream["bits"] // 8


def _feed(port: Mapping, images: np.ndarray) -> np.ndarray:
    beats, width = len(images) * port["beats_per_image"], _bytes(port)
    if images.dtype != np.uint8 or len(images) == 0 or images.size != beats * width:
        raise ValueError(
            f"images: uint8 of {port['beats_per_image'] * width} bytes each expected, "
            f"{images.dtype} {list(images.shape)} given"
        )
    return np.ascontiguousarray(images).reshape(beats, width)


def _links(design: Mapping, taps: bool) -> list[dict]:
    """The links to compare, the output port last."""
    output = {**design["output"], "signal": "m_axis", "node": design["top"]}
    inner = [link for link in design["links"] if link["tensor"] != output["tensor"]] if taps else []
    return [*inner, output]


def _judge(
    design: Mapping, links: list[dict], run: Run, references: Mapping[str, np.ndarray], images: int
) -> Simulation:
    out = run.outputs["m_axis"]
    per_image = design["output"]["beats_per_image"]
    _check_last(out, per_image)
    compared, first = 0, None
    wrong: dict[str, int] = {}
    skipped: list[str] = []
    for link in links:
        tensor = link["tensor"]
        if tensor not in references:
            skipped.append(tensor)
            continue
        beats = out if link["signal"] == "m_axis" else run.taps[link["signal"]]
        count, found = _compare(link, beats, references[tensor], images)
        compared += references[tensor].size
        wrong[tensor] = max(count, wrong.get(tensor, 0))
        first = first or found
    ends = out.cycles[per_image - 1 :: per_image].astype(np.int64)
    intervals = np.diff(ends)
    return Simulation(
        logits=_elements(out, _SIGNED[design["output"]["bits"]]).reshape(images, -1),
        compared=compared,
        mismatches=sum(wrong.values()),
        link_mismatches=wrong,
        not_compared=tuple(dict.fromkeys(skipped)),
        first_wrong=first,
        cycles=run.cycles,
        cycles_per_image=float(intervals[len(intervals) // 2 :].mean()) if len(intervals) else None,
        ends=ends,
        latency_cycles=int(out.cycles[0]) - run.first_input_cycle["s_axis"],
        seconds=run.seconds,
    )


def _check_last(out: Beats, per_image: int) -> None:
    wanted = np.arange(len(out.data)) % per_image == per_image - 1
    if out.last is not None and (out.last != wanted).any():
        beat = int(np.flatnonzero(out.last != wanted)[0])
        raise SimulationError(
            f"m_axis_tlast is {int(out.last[beat])} at beat {beat % per_image} of image {beat // per_image}; "
            f"it ends an image of {per_image} beats"
        )


def _elements(beats: Beats, dtype: np.dtype) -> np.ndarray:
    return beats.data.reshape(-1).view(dtype)


def _compare(link: Mapping, beats: Beats, reference: np.ndarray, images: int) -> tuple[int, Wrong | None]:
    """The number of elements that differ, missing and surplus ones included, and the first of them."""
    per_image = link["beats_per_image"] * link["lanes"]
    if len(reference) != images or reference.size != images * per_image:
        raise ValueError(
            f"reference {link['tensor']}: [{images}, ...] of {per_image} elements each expected, "
            f"{list(reference.shape)} given"
        )
    expected = np.ascontiguousarray(reference).reshape(-1)
    unsigned_bytes = link["bits"] == 8 and expected.dtype == np.uint8
    got = _elements(beats, expected.dtype if unsigned_bytes else _SIGNED[link["bits"]])
    n = min(len(got), len(expected))
    unequal = got[:n] != expected[:n]
    count = int(unequal.sum()) + abs(len(got) - len(expected))
    if count == 0:
        return 0, None
    position = int(np.flatnonzero(unequal)[0]) if unequal.any() else n
    if position >= len(expected):
        raise SimulationError(f"{link['node']}: {len(got)} elements of {link['tensor']}, not {len(expected)}")
    index = np.unravel_index(position % per_image, reference.shape[1:])
    return count, Wrong(
        node=link["node"],
        tensor=link["tensor"],
        image=position // per_image,
        index=tuple(int(i) for i in index),
        expected=int(expected[position]),
        got=int(got[position]) if position < n else None,
    )
