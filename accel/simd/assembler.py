"""Programs as bytes and as text: one instruction a line, a LOAD's words in hexadecimal on the lines below it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accel.simd.isa import BYTES, FIELDS, Instruction, IsaError, Opcode, decode, encode, instruction
from accel.simd.sizes import WORD


@dataclass(frozen=True)
class Packet:
    """An instruction and, behind a LOAD, its words."""

    instruction: Instruction
    payload: bytes = b""

    def __post_init__(self) -> None:
        if len(self.payload) != WORD * payload_words(self.instruction):
            raise IsaError(
                f"{self.instruction.opcode.name} is followed by {len(self.payload)} bytes,"
                f" not by {payload_words(self.instruction)} words of {WORD}"
            )

    def encoded(self) -> bytes:
        return encode(self.instruction) + self.payload


def payload_words(given: Instruction) -> int:
    """16-byte words behind the instruction."""
    return given["words"] if given.opcode is Opcode.LOAD else 0


def pack(packets: Iterable[Packet]) -> bytes:
    """The program in memory."""
    return b"".join(packet.encoded() for packet in packets)


def unpack(program: bytes) -> Iterator[tuple[int, Packet]]:
    """(byte offset, packet) of a program. IsaError names the offset of what is no instruction."""
    offset = 0
    while offset < len(program):
        try:
            head = decode(program[offset : offset + BYTES])
            start = offset + BYTES
            end = start + WORD * payload_words(head)
            if end > len(program):
                raise IsaError(f"its words end {end - len(program)} bytes behind the program")
            packet = Packet(head, program[start:end])
        except IsaError as error:
            raise IsaError(f"program, byte {offset}: {error}") from None
        yield offset, packet
        offset = end


def disassemble(program: bytes) -> str:
    """The program as text; fields that are 0 are left out."""
    lines = []
    for _, packet in unpack(program):
        given = packet.instruction
        shown = [f"{f.name}={given[f.name]}" for f in FIELDS[given.opcode] if given[f.name]]
        lines.append(" ".join([given.opcode.name, *shown]))
        payload = packet.payload
        lines += [f"  {payload[i : i + WORD].hex()}" for i in range(0, len(payload), WORD)]
    return "\n".join([*lines, ""])


def assemble(text: str) -> bytes:
    """Text as `disassemble` writes it -> the program. `#` starts a comment. IsaError names the line."""
    packets: list[tuple[int, Instruction, bytearray]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            if line[0].isspace():
                if not packets:
                    raise IsaError("data before the first instruction")
                packets[-1][2].extend(_data(words))
            else:
                packets.append((number, _parsed(words), bytearray()))
        except IsaError as error:
            raise IsaError(f"line {number}: {error}") from None
    program = bytearray()
    for number, given, payload in packets:
        try:
            program += Packet(given, bytes(payload)).encoded()
        except IsaError as error:
            raise IsaError(f"line {number}: {error}") from None
    return bytes(program)


def _parsed(words: list[str]) -> Instruction:
    if words[0] not in Opcode.__members__:
        raise IsaError(f"no instruction '{words[0]}'; there are {', '.join(Opcode.__members__)}")
    fields = {}
    for word in words[1:]:
        name, equals, value = word.partition("=")
        try:
            fields[name] = int(value, 0)
        except ValueError:
            raise IsaError(f"'{word}' must be field=integer") from None
        if not equals:
            raise IsaError(f"'{word}' must be field=integer")
    return instruction(Opcode[words[0]], **fields)


def _data(words: list[str]) -> bytes:
    try:
        return bytes.fromhex("".join(words))
    except ValueError:
        raise IsaError("data must be hexadecimal digits, two a byte") from None
