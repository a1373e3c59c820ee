"""Compiled programs in the engine's model against onnxruntime, every tensor in memory compared; cycles as promised."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qonnx.core.modelwrapper import ModelWrapper

from accel.simd.assembler import assemble, disassemble
from accel.simd.compiler import Program, compile_model
from accel.simd.model import Engine
from accel.simd.results import EngineRun, ProgramError
from accel.simd.sizes import Build
from accel.simd.timing import HazardError, Memory
from passes import INTEGER, STREAMLINE, TIDY
from tests.accel.simd.networks import PSA_96, RELU_96, RELU_192, Shape, differing, images, random_shape, reference
from tests.accel.simd.networks import network as random_network
from tests.conftest import ACTIVATIONS, Network, random_images
from tests.material import published
from train.export import export_onnx
from train.import_arrays import import_arrays, read_arrays
from train.run import load_quantized

CHECKPOINT = Path(__file__).resolve().parents[3] / "checkpoints" / "lerp_psa_h96.pt"
SMALL = Shape(seed=3, side=16, width=24, hidden=20, blocks=2)
MEMORIES = {"plain": Memory(), "instant": Memory(1e9, 0, 10**6), "slow": Memory(4, 100, 32)}


def run(program: Program, pixels: np.ndarray, memory: Memory | None = None) -> EngineRun:
    return Engine(program.build, memory).run(program.code, program.loop, pixels, program.watches)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_equal_onnxruntime_in_every_tensor(seed: int) -> None:
    shape = random_shape(seed)
    model, pixels = random_network(shape), images(shape, 2)
    expected = reference(model, pixels)
    for inputs, memory in ((16, "plain"), (8, "slow"), (16, "instant")):
        program = compile_model(model, Build(inputs=inputs))
        assert differing(run(program, pixels, MEMORIES[memory]), expected) == []


def test_the_random_networks_have_something_to_compare() -> None:
    model, pixels = random_network(SMALL), images(SMALL, 4)
    expected = reference(model, pixels)
    result = run(compile_model(model), pixels)
    for name in result.images[0].tensors:
        assert len(np.unique(expected[name])) > 20, name
    assert len({tuple(image.logits) for image in result.images}) == 4


@pytest.mark.parametrize("name", ["psa_h96", "relu_h96"])
def test_published_models_equal_onnxruntime_in_every_tensor(name: str) -> None:
    model, pixels = import_arrays(read_arrays(published(name))), images(PSA_96, 2)
    result = run(compile_model(model), pixels)
    assert differing(result, reference(model, pixels)) == []
    assert result.back_to_back <= 27000


@pytest.mark.parametrize(("shape", "back_to_back", "cold"), [
    (PSA_96, 27000, 27500), (replace(PSA_96, tables=256), 27000, 27700), (RELU_96, 27000, 27500), (RELU_192, 46000, 46000),
], ids=["psa_96", "psa_96_full_tables", "relu_96", "relu_192"])  # fmt: skip
def test_cycles_with_nothing_kept_between_images(shape: Shape, back_to_back: int, cold: int) -> None:
    model, pixels = random_network(shape), images(shape, 3)
    result = run(compile_model(model), pixels)
    assert differing(result, reference(model, pixels)) == []
    assert result.back_to_back <= back_to_back
    assert result.cold <= cold


def test_half_the_bandwidth_and_a_hundred_cycles_of_latency_cost_time_and_no_bit() -> None:
    model, pixels = random_network(PSA_96), images(PSA_96, 3)
    program = compile_model(model)
    fast, slow = run(program, pixels), run(program, pixels, Memory(8, 100))
    assert differing(slow, reference(model, pixels)) == []
    assert fast.back_to_back < slow.back_to_back <= 1.01 * fast.back_to_back


def test_no_model_needs_another_build() -> None:
    build = Build()
    for shape in (PSA_96, RELU_96, RELU_192, replace(PSA_96, hidden=24), replace(PSA_96, tables=33, residual="affine", half_up=True)):
        assert compile_model(random_network(shape), build).build is build


def without_checks(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("CHECK"))


def test_a_program_without_its_waits_for_results_is_caught() -> None:
    shape = Shape(seed=1, side=8, width=8, hidden=8, blocks=1, tables=0)
    program = compile_model(random_network(shape))
    text = without_checks(disassemble(program.code))
    assert " drain=1" in text
    with pytest.raises(HazardError, match=r"cycles before it is written$"):
        Engine(program.build).run(assemble(text.replace(" drain=1", "")), program.loop - 32, images(shape, 1))


def test_a_program_without_its_waits_for_places_is_caught() -> None:
    program = compile_model(random_network(PSA_96))
    text = without_checks(disassemble(program.code))
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("WAIT"))
    with pytest.raises(HazardError, match=r"too early$"):
        Engine(program.build, MEMORIES["instant"]).run(assemble(kept), program.loop - 32, images(PSA_96, 2))


@pytest.mark.parametrize("byte", [0, 40, 900, 2000, -200])
def test_a_damaged_program_gives_no_logits(byte: int) -> None:
    program = compile_model(random_network(SMALL))
    code = bytearray(program.code)
    code[byte] ^= 0x10
    with pytest.raises(ProgramError) as error:
        Engine(program.build).run(bytes(code), program.loop, images(SMALL, 1))
    assert "checksum" in str(error.value)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("rows=16", "rows=300", "rows=300, passes=3, mode=0: 1 to 256 rows, 1 pass or more, mode 0 to 2"),
    ("stream_stride=3", "stream_stride=200", "the stream reaches word 3002 of bank 0, which has 256"),
    ("TILE passes", "TILE mode=3 passes", "rows=16, passes=3, mode=3: 1 to 256 rows, 1 pass or more, mode 0 to 2"),
    ("LOAD sink=1 words=8", "LOAD sink=6 words=8", "sink 6 does not exist"),
    ("raw_bank=2", "raw_bank=0", "reads of banks [0] and writes to [0, 3]: all reads differ, writes differ and go to 2 and 3"),
    ("raw_bank=2", "raw_bank=2 raw_address=4000", "the raw result reaches word 4030 of bank 2, which has 2048"),
    ("wait_image=1", "wait_image=1 logits=17", "function=1, logits=17: 0 to 2 and 0 to 16"),
    ("patch_beats=3", "patch_beats=63", "16 patches of 1008 bytes do not fit bank 0"),
    ("SEND count=10", "SEND count=11", "SEND of 11 logits, 10 are there"),
    ("SEND count=10", "WAIT", "LOOP before SEND"),
    ("LOAD words=48", "WAIT\nLOAD words=48", "WAIT for a tile whose weights follow it"),
])  # fmt: skip
def test_a_wrong_instruction_stops_the_engine_with_its_address(old: str, new: str, message: str) -> None:
    program = compile_model(random_network(SMALL))
    text = without_checks(disassemble(program.code))
    changed = text.replace(old, new, 1)
    assert changed != text
    with pytest.raises(ProgramError) as error:
        Engine(program.build).run(assemble(changed), program.loop - 32, images(SMALL, 1))
    assert str(error.value) == f"program, byte {error.value.address}: {message}"
    assert error.value.address % 16 == 0


def test_a_program_that_ends_early_is_an_error() -> None:
    program = compile_model(random_network(SMALL))
    for cut in (32, 40, len(program.code) // 2):
        with pytest.raises(ProgramError, match="ends"):
            Engine(program.build).run(program.code[:-cut], program.loop, images(SMALL, 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 240))
def test_two_hundred_more_random_networks(seed: int) -> None:
    shape = random_shape(seed)
    model, pixels = random_network(shape), images(shape, 2)
    assert differing(run(compile_model(model), pixels), reference(model, pixels)) == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_network_from_the_passes_equals_onnxruntime(network: Callable[[str], Network], activation: str) -> None:
    model = network(activation).stages["integer"]
    program = compile_model(model)
    pixels = random_images(2, seed=5)
    assert differing(run(program, pixels), reference(model, pixels)) == []


@pytest.mark.slow
def test_the_shipped_network_equals_onnxruntime_within_its_cycles() -> None:
    exported = export_onnx(load_quantized(CHECKPOINT)[0])
    wrapped = ModelWrapper(exported)
    for step in (*TIDY, *STREAMLINE, *INTEGER):
        wrapped = wrapped.transform(step)
    pixels = random_images(3, seed=6)
    result = run(compile_model(wrapped.model), pixels)
    assert differing(result, reference(wrapped.model, pixels)) == []
    assert (result.back_to_back <= 27000, result.cold <= 27700) == (True, True)  # its tables have 256 entries
