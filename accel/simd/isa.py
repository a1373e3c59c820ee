"""The engine's instructions: 32-byte words whose fields are one table, with a checksum in each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

BYTES = 32  # an instruction
_BODY = 30  # bytes under the checksum, which is the last two
_SEED = 0xA5A5  # so that neither all zeros nor all ones is an instruction


class IsaError(ValueError):
    """A word that is no instruction, or a field that does not fit; the message is one line."""


class Opcode(IntEnum):
    LOAD = 1
    WAIT = 2
    IMAGE = 3
    TILE = 4
    CHECK = 5
    SEND = 6
    LOOP = 7


class Sink(IntEnum):
    """Where a LOAD's words go."""

    WEIGHTS = 0
    LANES = 1
    ROWS = 2
    TABLE = 3
    MATRIX = 4
    COLOURS = 5


class Mode(IntEnum):
    """What a TILE multiplies its stream of rows by."""

    WEIGHTS = 0
    HELD = 1
    COPY = 2


class Function(IntEnum):
    """What a TILE writes beside, or in place of, its raw result."""

    NONE = 0
    AFFINE = 1
    TABLE = 2


@dataclass(frozen=True)
class Field:
    name: str
    bits: int
    meaning: str
    signed: bool = False


# In each instruction the fields follow the opcode (8 bits) from bit 8 up, in this order.
FIELDS: Mapping[Opcode, tuple[Field, ...]] = {
    Opcode.LOAD: (
        Field("sink", 3, "0 weights, 1 lanes, 2 rows, 3 table, 4 matrix, 5 colours"),
        Field("address", 12, "first word of the sink (rows, table, matrix, colours)"),
        Field("words", 13, "16-byte words that follow this instruction"),
        Field("slot", 2, "lanes: 0 main, 1 branch, 2 residual, 3 function"),
        Field("set", 2, "lanes: which of the four sets"),
        Field("lo", 8, "lanes, rows: lowest result", signed=True),
        Field("hi", 8, "lanes, rows: highest result", signed=True),
        Field("half_up", 1, "lanes, rows: ties go up, not to even"),
    ),
    Opcode.WAIT: (Field("pending", 8, "the loader waits until at most so many queued tiles have not retired"),),
    Opcode.IMAGE: (
        Field("patch_beats", 6, "4-byte beats of a patch's line"),
        Field("patch_lines", 6, "lines of a patch"),
        Field("across", 8, "patches side by side"),
        Field("down", 8, "patches one below the other"),
        Field("stride", 8, "words of a patch in bank 0"),
        Field("colours", 3, "bytes of a pixel, 1 to 4: the k-th byte of a line reads table k mod colours"),
    ),
    Opcode.TILE: (
        Field("mode", 2, "stationary operand: 0 weights from the loader, 1 rows of a bank, 2 none (the stream passes)"),
        Field("wait_image", 1, "starts when the image is complete"),
        Field("drain", 1, "starts when every earlier tile has retired"),
        Field("passes", 8, "groups of 16 input channels"),
        Field("rows", 10, "rows of the stream, one a cycle"),
        Field("stream_bank", 2, "bank of the stream"),
        Field("stream_address", 12, "word of row 0, group 0; group g is g words on"),
        Field("stream_stride", 8, "words from row to row"),
        Field("held_bank", 2, "mode 1: bank of the stationary rows"),
        Field("held_address", 12, "mode 1: word of stationary row 0"),
        Field("held_stride", 8, "mode 1: words from stationary row to row"),
        Field("residual", 1, "a residual is added"),
        Field("residual_bank", 2, "its bank"),
        Field("residual_address", 12, "its word of row 0"),
        Field("raw", 1, "the result is written"),
        Field("raw_bank", 2, "to this bank (2 or 3)"),
        Field("raw_address", 12, "word of row 0"),
        Field("function", 2, "a function of the result is written: 0 none, 1 affine, 2 table"),
        Field("function_bank", 2, "to this bank (2 or 3)"),
        Field("function_address", 12, "word of row 0"),
        Field("out_stride", 8, "words from row to row of residual, result and function"),
        Field("logits", 5, "so many lanes of row 0 go to the output (0: none)"),
        Field("wide", 1, "logits are the accumulators plus bias, not the rounded result"),
        Field("set", 2, "set of lane parameters"),
        Field("row_parameters", 1, "main parameters by row in place of by lane"),
        Field("branch_affine", 1, "the main result passes the branch slot"),
        Field("residual_affine", 1, "the residual passes the residual slot"),
        Field("residual_left", 4, "left shift of the residual in the sum"),
        Field("branch_left", 4, "left shift of the branch in the sum"),
        Field("sum_shift", 5, "right shift of the sum"),
        Field("sum_lo", 8, "lowest sum", signed=True),
        Field("sum_hi", 8, "highest sum", signed=True),
        Field("sum_half_up", 1, "ties of the sum go up"),
        Field("table_address", 11, "word of the table's entry 0, even"),
        Field("table_bits", 3, "0: 256 entries; b: knots every 2**b codes"),
        Field("table_half_up", 1, "ties between knots go up"),
    ),
    Opcode.CHECK: (Field("sum", 32, "sum of the 32-bit words since the start, CHECK or LOOP before, modulo 2**32"),),
    Opcode.SEND: (Field("count", 10, "logits that leave, one a beat, TLAST on the last"),),
    Opcode.LOOP: (),
}


@dataclass(frozen=True)
class Instruction:
    """An opcode and its fields; those not given are 0."""

    opcode: Opcode
    fields: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.fields.get(name, 0)


def instruction(opcode: Opcode, **fields: int) -> Instruction:
    """A checked instruction. IsaError names the field that does not exist or fit."""
    known = {f.name: f for f in FIELDS[opcode]}
    for name, value in fields.items():
        if name not in known:
            raise IsaError(f"{opcode.name} has no field '{name}'; it has {', '.join(known) or 'none'}")
        f = known[name]
        low, high = (-(1 << f.bits - 1), (1 << f.bits - 1) - 1) if f.signed else (0, (1 << f.bits) - 1)
        if not low <= value <= high:
            raise IsaError(f"{opcode.name} {name}={value} must be in {low}..{high}")
    return Instruction(opcode, {f.name: int(fields.get(f.name, 0)) for f in FIELDS[opcode]})


def checksum(body: bytes) -> int:
    """The sum of the first fifteen 16-bit halves of an instruction and 0xA5A5, modulo 2**16."""
    halves = (int.from_bytes(body[i : i + 2], "little") for i in range(0, _BODY, 2))
    return (sum(halves) + _SEED) & 0xFFFF


def encode(given: Instruction) -> bytes:
    """32 bytes, little-endian."""
    word, offset = int(given.opcode), 8
    for f in FIELDS[given.opcode]:
        word |= (given[f.name] & (1 << f.bits) - 1) << offset
        offset += f.bits
    body = word.to_bytes(_BODY, "little")
    return body + checksum(body).to_bytes(2, "little")


def decode(data: bytes) -> Instruction:
    """The instruction of 32 bytes. IsaError on a wrong checksum, an unknown opcode or bits outside every field."""
    if len(data) != BYTES:
        raise IsaError(f"an instruction has {BYTES} bytes, not {len(data)}")
    if checksum(data) != int.from_bytes(data[_BODY:], "little"):
        raise IsaError("wrong checksum")
    word = int.from_bytes(data[:_BODY], "little")
    code = word & 0xFF
    if code not in Opcode.__members__.values():
        raise IsaError(f"bad opcode {code}")
    opcode, fields = Opcode(code), {}
    word >>= 8
    for f in FIELDS[opcode]:
        value = word & (1 << f.bits) - 1
        fields[f.name] = value - (1 << f.bits) if f.signed and value >> f.bits - 1 else value
        word >>= f.bits
    if word:
        raise IsaError(f"{opcode.name} has bits set beyond its fields")
    return Instruction(opcode, fields)


def table(opcode: Opcode) -> str:
    """The fields of an instruction as a Markdown table, as docs/simd.md holds it."""
    lines = ["| bits | field | meaning |", "| --- | --- | --- |", f"| 7:0 | opcode | {int(opcode)} |"]
    offset = 8
    for f in FIELDS[opcode]:
        bits = f"{offset + f.bits - 1}:{offset}" if f.bits > 1 else f"{offset}"
        lines.append(f"| {bits} | {f.name} | {f.meaning}{', signed' if f.signed else ''} |")
        offset += f.bits
    return "\n".join([*lines, "| 255:240 | checksum | |", ""])


def header() -> str:
    """accel/rtl/simd/simd_isa.svh: opcodes and the lowest bit of every field, as the RTL reads them."""
    lines = [
        "// The opcodes, the lowest bit of every field, and the first bit behind the fields; written by",
        "// accel.simd.isa.header, included inside modules.",
        "/* verilator lint_off UNUSEDPARAM */",
    ]
    for opcode, fields in FIELDS.items():
        lines.append(f"localparam int {opcode.name} = {int(opcode)};")
        offset = 8
        for f in fields:
            lines.append(f"localparam int {opcode.name}_{f.name.upper()}_AT = {offset};")
            offset += f.bits
        lines.append(f"localparam int {opcode.name}_END = {offset};")
    return "\n".join([*lines, "/* verilator lint_on UNUSEDPARAM */", ""])
