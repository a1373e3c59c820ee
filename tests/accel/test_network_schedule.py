"""A whole small network: its FIFOs are as deep as its speed needs and no deeper; its latency is as foretold; no pause stops it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from accel import tools
from accel.emit import emit
from accel.simulate import Simulation, simulate
from passes.graph import Graph, set_attribute
from passes.hardware import plan
from passes.schedule import latency, network
from passes.size_fifos import SizeFifos

from .conftest import random_int8
from .test_emit import Builder

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(not tools.available("verilator", "g++"), reason="verilator or g++ is not installed"),
]
TOKENS, CHANNELS = 4, 16
IMAGES = np.random.default_rng(3).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)


def small(lanes: int = 3, blocks: int = 2) -> Builder:
    """Blocks of a token mixer and a channel mixer, without FIFOs; with 3 bytes a beat at the input every link is full, with 1 none inside."""
    b = Builder()
    b.values = {"pixels": IMAGES}

    def linear(op: str, name: str, x: str, rows: int, columns: int, **folding: int) -> str:
        constants = (random_int8(rows, rows, columns), b.int32(-500, 500, rows), b.int32(4, 8, rows))
        return b.add(op, name, x, *constants, **folding)

    x = b.add("ChannelLUT", "pixel_lut", "pixels", random_int8(1, 3, 256), lowest=0, PE=lanes)
    x = b.add("Patches", "patches_0", x, patch=4, PE=lanes)
    x = linear("MatVec", "embed", x, CHANNELS, 48, SIMD=48, in_lanes=lanes)
    for n in range(blocks):
        x = b.add("Fork", f"fork_{2 * n}", x)
        affine = (b.int32(-200, 200, CHANNELS), b.int32(-99, 99, CHANNELS), b.int32(5, 8, CHANNELS))
        y = b.add("ChannelRequant", f"affine_{n}", x, *affine)
        y = linear("TokenMix", f"mixer_{n}", y, TOKENS, TOKENS, SIMD=TOKENS)
        x = b.add("ResidualAdd", f"add_{2 * n}", [y, f"fork_{2 * n}_b"], shift=1)
        x = b.add("Fork", f"fork_{2 * n + 1}", x)
        y = b.add("ChannelLUT", f"act_{n}", x, random_int8(n, CHANNELS, 256))
        y = linear("MatVec", f"first_{n}", y, CHANNELS, CHANNELS, SIMD=CHANNELS)
        y = linear("MatVec", f"second_{n}", y, CHANNELS, CHANNELS, SIMD=CHANNELS)
        x = b.add("ResidualAdd", f"add_{2 * n + 1}", [y, f"fork_{2 * n + 1}_b"], shift=1)
    x = b.add("TokenMean", "mean_0", x, shift=2)
    b.add("MatVec", "classifier", x, random_int8(8, 10, CHANNELS), b.int32(-500, 500, 10), SIMD=4)
    return b


def sized(b: Builder) -> ModelWrapper:
    return ModelWrapper(b.model("classifier_y")).transform(SizeFifos())


def fifos(model: ModelWrapper) -> dict[str, int]:
    graph = Graph(model)
    return {n.name: plan(graph, n).memories[0].depth for n in graph.proto.node if n.op_type == "Fifo"}


def run(model: onnx.ModelProto, b: Builder, folder: Path, work: Path, **options) -> Simulation:
    emit(model, folder / "rtl", registers=False)
    result = simulate(folder, IMAGES, {"logits": b.values["logits"]}, work=work, taps=False, idle_cycles=100_000, **options)
    assert result.mismatches == 0
    return result


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Compiled networks, shared by the tests."""
    return tmp_path_factory.mktemp("networks")


@pytest.mark.parametrize("lanes, period, blocks", [(3, 64, 2), (1, 192, 1)])
def test_each_fifo_is_as_deep_as_full_speed_needs_and_no_deeper(lanes, period, blocks, tmp_path, work):
    """One beat less costs throughput where the links are full, else latency."""
    b = small(lanes, blocks)
    model = sized(b)
    exact = run(model.model, b, tmp_path / "exact", work)
    foretold = latency(network(Graph(model)))
    assert (np.diff(exact.ends[-12:]) == period).all()
    assert exact.latency_cycles == foretold.cycles == sum(cycles for _, cycles in foretold.by_node)
    depths = fifos(model)
    assert len(depths) == 2 * blocks
    for name, depth in depths.items():
        node = next(n for n in model.graph.node if n.name == name)
        set_attribute(node, "depth", depth - 1)
        less = run(model.model, b, tmp_path / name, work)
        set_attribute(node, "depth", depth)
        if lanes == 3:
            assert less.ends[-1] - less.ends[-12] > 11 * period
        else:
            assert less.latency_cycles > exact.latency_cycles


def test_long_pauses_at_the_output_and_then_at_the_input_lose_nothing_and_cost_only_themselves(tmp_path, work):
    b = small()
    model = sized(b).model
    pauses = {"m_axis": (500, 1300), "s_axis": (1500, 2100)}
    paused = run(model, b, tmp_path / "exact", work, pauses=pauses)
    assert (np.diff(paused.ends[-4:]) == 64).all()
    assert paused.ends[-1] > 24 * 64 + 800


@pytest.mark.parametrize("seed, stalls", [(1, 0.5), (2, 0.99)])
def test_random_stalls_at_both_ends_lead_to_no_deadlock(seed, stalls, tmp_path, work):
    b = small()
    run(sized(b).model, b, tmp_path / "exact", work, seed=seed, stalls=stalls)
