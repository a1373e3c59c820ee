"""Runs one RTL instance against expected integers, with and without stalls on its streams."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from accel import packing, tools
from accel.instance import RTL, Instance
from accel.verilate import Run, Simulator, Stream, build

# seed, probability of a new tvalid, probability of tready
STALLS = ((0, 1.0, 1.0), (1, 0.5, 0.5), (2, 0.2, 1.0), (3, 1.0, 0.2), (4, 0.9, 0.9))

Check = Callable[..., Run]


def random_int8(seed: int, *shape: int) -> np.ndarray:
    """int8 of `shape`, every code as likely, the extremes more so."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, shape)
    extremes = rng.choice([-128, 127], shape)
    return np.where(rng.random(shape) < 0.1, extremes, values).astype(np.int8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs a compiled module needs the tools."""
    for item in items:
        if "verilated" in getattr(item, "fixturenames", ()):
            item.add_marker("tools")


@pytest.fixture(scope="session")
def verilated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Instance, int, Path], Simulator]:
    """(instance, images' beats per input, folder of its memory files) -> Simulator; builds are shared."""
    if not tools.available("verilator", "g++"):
        pytest.skip("verilator or g++ is not installed")
    work = tmp_path_factory.mktemp("verilated")

    def simulator(instance: Instance, packets: Mapping[str, int], folder: Path) -> Simulator:
        for file, text in instance.memories.items():
            (folder / file).write_text(text)
        return build(
            [RTL / source for source in instance.sources],
            instance.module,
            work,
            [Stream(prefix, width, packets[prefix]) for prefix, width in instance.inputs.items()],
            [Stream(prefix, width) for prefix, width in instance.outputs.items()],
            parameters=instance.parameters,
            cwd=folder,
        )

    return simulator


@pytest.fixture
def check(verilated: Callable[..., Simulator], tmp_path: Path) -> Check:
    """check(instance, {input: images}, {output: images}, in_bits, out_bits): arrays int [n, ...] in stream order.

    Compares data and TLAST at every setting of STALLS; returns the run without stalls.
    """

    def run(
        instance: Instance,
        inputs: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        in_bits: int = 8,
        out_bits: int = 8,
    ) -> Run:
        def beats(images: np.ndarray, width: int, bits: int) -> np.ndarray:
            return packing.to_beats(images, width * 8 // bits, bits)

        feeds = {prefix: beats(x, instance.inputs[prefix], in_bits) for prefix, x in inputs.items()}
        wanted = {prefix: beats(y, instance.outputs[prefix], out_bits) for prefix, y in expected.items()}
        packets = {prefix: len(feeds[prefix]) // len(x) for prefix, x in inputs.items()}
        simulator = verilated(instance, packets, tmp_path)
        runs = []
        for seed, valid, ready in STALLS:
            counts = {prefix: len(y) for prefix, y in wanted.items()}
            done = simulator.run(feeds, counts, seed, valid, ready, idle_cycles=100_000)
            for prefix, y in wanted.items():
                got = done.outputs[prefix]
                np.testing.assert_array_equal(got.data, y, f"{prefix}, seed {seed}")
                period = len(y) // len(expected[prefix])
                last = np.arange(1, len(y) + 1) % period == 0
                np.testing.assert_array_equal(got.last, last, f"{prefix}_tlast, seed {seed}")
            runs.append(done)
        return runs[0]

    return run


def latency(run: Run) -> int:
    """Cycles from the first beat in to the first beat out."""
    return int(min(beats.cycles[0] for beats in run.outputs.values())) - min(run.first_input_cycle.values())


def cycles_per_image(run: Run, images: int, prefix: str = "m_axis") -> np.ndarray:
    """Cycles between the last beats of consecutive images, int [images - 1]."""
    cycles = run.outputs[prefix].cycles.astype(np.int64)
    return np.diff(cycles[len(cycles) // images - 1 :: len(cycles) // images])
