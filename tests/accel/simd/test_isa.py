"""Instructions as 32-byte words: fields round trip, every damaged bit is seen, text and bytes are the same program."""

from pathlib import Path

import numpy as np
import pytest

from accel.simd.assembler import assemble, disassemble
from accel.simd.compiler import compile_model
from accel.simd.isa import BYTES, FIELDS, Instruction, IsaError, Opcode, checksum, decode, encode, instruction, table
from tests.accel.simd.networks import Shape, network

DOCS = Path(__file__).resolve().parents[3] / "docs" / "simd.md"


def random_instruction(opcode: Opcode, rng: np.random.Generator) -> Instruction:
    values = {}
    for f in FIELDS[opcode]:
        low, high = (-(1 << f.bits - 1), 1 << f.bits - 1) if f.signed else (0, 1 << f.bits)
        values[f.name] = int(rng.integers(low, high))
    return instruction(opcode, **values)


@pytest.mark.parametrize("opcode", Opcode)
def test_every_field_survives_encoding(opcode: Opcode) -> None:
    rng = np.random.default_rng(int(opcode))
    for _ in range(200):
        given = random_instruction(opcode, rng)
        assert decode(encode(given)) == given


@pytest.mark.parametrize("opcode", Opcode)
def test_the_fields_fit_the_word(opcode: Opcode) -> None:
    assert 8 + sum(f.bits for f in FIELDS[opcode]) <= 8 * BYTES - 16


@pytest.mark.parametrize("opcode", Opcode)
def test_every_flipped_bit_is_seen(opcode: Opcode) -> None:
    word = encode(random_instruction(opcode, np.random.default_rng(0)))
    for bit in range(8 * BYTES):
        damaged = bytearray(word)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IsaError, match="wrong checksum"):
            decode(bytes(damaged))


def test_all_zeros_and_all_ones_are_no_instruction() -> None:
    for byte in (b"\0", b"\xff"):
        with pytest.raises(IsaError, match="wrong checksum"):
            decode(byte * BYTES)


def signed(body: bytes) -> bytes:
    return body + checksum(body).to_bytes(2, "little")


def test_an_unknown_opcode_is_named() -> None:
    with pytest.raises(IsaError, match=r"^bad opcode 200$"):
        decode(signed(bytes([200]) + bytes(29)))


def test_a_bit_beyond_the_fields_is_refused() -> None:
    with pytest.raises(IsaError, match=r"^LOOP has bits set beyond its fields$"):
        decode(signed(bytes([Opcode.LOOP, 1]) + bytes(28)))


@pytest.mark.parametrize(("fields", "message"), [
    ({"pendig": 1}, "WAIT has no field 'pendig'; it has pending"),
    ({"pending": 256}, "WAIT pending=256 must be in 0..255"),
    ({"pending": -1}, "WAIT pending=-1 must be in 0..255"),
])  # fmt: skip
def test_a_field_that_does_not_fit_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(IsaError) as error:
        instruction(Opcode.WAIT, **fields)
    assert str(error.value) == message


def test_a_program_is_the_same_after_disassembly_and_assembly() -> None:
    code = compile_model(network(Shape(seed=3, side=16, width=24, hidden=20, blocks=1))).code
    text = disassemble(code)
    assert assemble(text) == code
    assert text.count("TILE ") == 2 + 3 * 2 + 2 + 1  # embedding, a block, mean and classifier


@pytest.mark.parametrize(("text", "message"), [
    ("JUMP", "line 1: no instruction 'JUMP'; there are LOAD, WAIT, IMAGE, TILE, CHECK, SEND, LOOP"),
    ("LOOP\nWAIT pending", "line 2: 'pending' must be field=integer"),
    ("  00ff", "line 1: data before the first instruction"),
    ("LOAD sink=3 words=1\n  00ff", "line 1: LOAD is followed by 2 bytes, not by 1 words of 16"),
    ("LOAD sink=3 words=1\n  xy", "line 2: data must be hexadecimal digits, two a byte"),
])  # fmt: skip
def test_text_that_is_no_program_is_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(IsaError) as error:
        assemble(text)
    assert str(error.value) == message


def test_comments_and_bases_are_understood() -> None:
    assert assemble("# nothing\nWAIT pending=0x10  # sixteen\n") == encode(instruction(Opcode.WAIT, pending=16))


@pytest.mark.parametrize("opcode", Opcode)
def test_the_document_has_the_fields_that_the_encoder_has(opcode: Opcode) -> None:
    assert f"### {opcode.name}\n" in DOCS.read_text()
    assert table(opcode) in DOCS.read_text()
