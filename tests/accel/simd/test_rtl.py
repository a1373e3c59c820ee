"""simd_engine in Verilator: every tensor that the lanes write, and the logits, against onnxruntime; cycles against the model."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accel import tools
from accel.instance import RTL
from accel.simd.assembler import assemble, disassemble, unpack
from accel.simd.compiler import compile_model
from accel.simd.isa import header
from accel.simd.model import Engine
from accel.simd.results import ProgramError
from accel.simd.simulate import SOURCES, Simulator, compile_engine
from accel.simd.sizes import Build
from accel.simd.timing import Memory
from tests.accel.simd.networks import PSA_96, RELU_96, RELU_192, Shape, differing, images, network, random_shape, reference
from tests.material import published
from train.import_arrays import import_arrays, read_arrays

pytestmark = [pytest.mark.tools, pytest.mark.slow]
SMALL = Shape(seed=3, side=16, width=24, hidden=20, blocks=2)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Simulator]:
    """Inputs of the array -> the compiled engine, one for all models."""
    if not tools.available("verilator", "g++"):
        pytest.skip("verilator or g++ is not installed")
    work, built = tmp_path_factory.mktemp("simd"), {}

    def get(inputs: int) -> Simulator:
        if inputs not in built:
            built[inputs] = compile_engine(Build(inputs=inputs), work)
        return built[inputs]

    return get


@pytest.mark.parametrize("inputs", [8, 16])
def test_random_networks_equal_onnxruntime_under_stalls(simulator: Callable[[int], Simulator], inputs: int) -> None:
    engine = simulator(inputs)
    for seed in range(200 if inputs == 16 else 50):
        shape = random_shape(seed)
        model, pixels = network(shape), images(shape, 2)
        program = compile_model(model, engine.build)
        expected = reference(model, pixels)
        for memory, beats, ready in ((Memory(), 1.0, 1.0), (Memory(5, 100), 0.3, 0.2)):
            run = engine.run(program, pixels, memory, seed + 1, beats, ready)
            assert len(run.images[0].tensors) == len(program.watches) - 1  # all but the patches
            assert differing(run, expected) == [], f"seed {seed}"


@pytest.mark.parametrize(("shape", "back_to_back", "cold"), [
    (PSA_96, 27000, 27500), (replace(PSA_96, tables=256), 27000, 27700), (RELU_96, 27000, 27500), (RELU_192, 46000, 46000),
    (replace(PSA_96, hidden=24), 15000, 15500), (replace(PSA_96, tables=33, residual="affine", half_up=True), 27000, 27500),
], ids=["psa_96", "psa_96_full_tables", "relu_96", "relu_192", "psa_24", "psa_96_imported"])  # fmt: skip
def test_one_engine_runs_every_model_in_its_cycles(simulator: Callable[[int], Simulator], shape: Shape, back_to_back: int, cold: int) -> None:
    engine, model, pixels = simulator(16), network(shape), images(shape, 3)
    program = compile_model(model, engine.build)
    run = engine.run(program, pixels)
    assert differing(run, reference(model, pixels)) == []
    apart = run.images[2].last_logit - run.images[1].last_logit
    assert (apart <= back_to_back, run.cold <= cold) == (True, True)
    predicted = Engine(engine.build).run(program.code, program.loop, pixels)
    assert abs(predicted.back_to_back - apart) <= 0.003 * apart
    assert abs(predicted.cold - run.cold) <= 0.003 * run.cold


@pytest.mark.parametrize("name", ["psa_h96", "relu_h96"])
def test_published_models_equal_onnxruntime(simulator: Callable[[int], Simulator], name: str) -> None:
    model, pixels = import_arrays(read_arrays(published(name))), images(PSA_96, 2)
    run = simulator(16).run(compile_model(model), pixels, Memory(8, 100))
    assert differing(run, reference(model, pixels)) == []


def broken(code: bytes, loop: int, change: Callable[[list[str]], list[str]]) -> tuple[bytes, int]:
    """The program with its text changed, its sums right again."""
    lines = change(disassemble(code).splitlines())
    fixed, since, repeated = bytearray(), 0, 0
    for _, packet in unpack(assemble("\n".join(lines))):
        if packet.instruction.opcode.name == "CHECK":
            total = int(np.frombuffer(bytes(fixed[since:]), "<u4").sum(dtype=np.uint64)) & 0xFFFFFFFF
            fixed += assemble(f"CHECK sum={total}")
            since = len(fixed)
            repeated = repeated or since
        else:
            fixed += packet.encoded()
    return bytes(fixed), repeated


def replaced(old: str, new: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        assert old in text
        return text.replace(old, new, 1).splitlines()

    return change


@pytest.mark.parametrize(("old", "new", "reason"), [
    ("rows=16", "rows=300", "address or size out of range"),
    ("stream_stride=3", "stream_stride=200", "address or size out of range"),
    ("TILE passes", "TILE mode=3 passes", "address or size out of range"),
    ("LOAD sink=1 words=8", "LOAD sink=6 words=8", "address or size out of range"),
    ("raw_bank=2", "raw_bank=0", "address or size out of range"),
    ("raw_bank=2", "raw_bank=2 raw_address=4000", "address or size out of range"),
    ("wait_image=1", "wait_image=1 logits=17", "address or size out of range"),
    ("patch_beats=3", "patch_beats=63", "address or size out of range"),
    ("SEND count=10", "SEND count=11", "wrong order"),
    ("SEND count=10", "WAIT", "wrong order"),
    ("LOAD words=48", "WAIT\nLOAD words=48", "wrong order"),
])  # fmt: skip
def test_a_wrong_instruction_stops_model_and_engine_at_one_address(
    simulator: Callable[[int], Simulator], old: str, new: str, reason: str
) -> None:
    engine, program = simulator(16), compile_model(network(SMALL))
    code, loop = broken(program.code, program.loop, replaced(old, new))
    pixels = images(SMALL, 2)
    with pytest.raises(ProgramError) as modelled:
        Engine(engine.build).run(code, loop, pixels)
    with pytest.raises(ProgramError) as error:
        engine.run(replace(program, code=code, loop=loop), pixels)
    assert str(error.value) == f"program, byte {modelled.value.address}: {reason}"


@pytest.mark.parametrize(("byte", "reason"), [(0, "wrong checksum"), (1000, None), (40, "wrong sum of the words"), (-180, None)])
def test_a_damaged_byte_stops_the_engine_without_logits(simulator: Callable[[int], Simulator], byte: int, reason: str | None) -> None:
    program = compile_model(network(SMALL))
    code = bytearray(program.code)
    code[byte] ^= 0x10
    with pytest.raises(ProgramError) as error:
        simulator(16).run(replace(program, code=bytes(code)), images(SMALL, 1))
    if reason is not None:
        assert str(error.value).endswith(f": {reason}")


def test_memory_that_answers_with_an_error_stops_the_engine(simulator: Callable[[int], Simulator]) -> None:
    program = compile_model(network(SMALL))
    with pytest.raises(ProgramError, match=r": memory$"):
        simulator(16).run(program, images(SMALL, 1), missing=4096)


@pytest.mark.parametrize("inputs", [8, 16])
def test_verilator_has_no_warning(inputs: int) -> None:
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed")
    command = ["verilator", "--lint-only", "-Wall", f"-GINPUTS={inputs}", "-y", ".", "-y", "..", "simd_engine.sv"]
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rtl_reads_the_fields_that_the_encoder_writes() -> None:
    assert (SOURCES / "simd_isa.svh").read_text() == header()


def test_every_module_is_part_of_the_engine() -> None:
    text = "".join(path.read_text() for path in SOURCES.glob("*.sv"))
    for path in [*SOURCES.glob("*.sv")]:
        assert text.count(path.stem) >= 2, path.stem
    assert (RTL / "ram.sv").is_file()


def test_nothing_of_an_image_is_lost_between_runs(simulator: Callable[[int], Simulator], tmp_path: Path) -> None:
    engine, model, pixels = simulator(16), network(SMALL), images(SMALL, 5)
    program = compile_model(model, engine.build)
    whole = engine.run(program, pixels)
    for index in range(5):
        alone = engine.run(program, pixels[index : index + 1])
        assert np.array_equal(alone.images[0].logits, whole.images[index].logits)
