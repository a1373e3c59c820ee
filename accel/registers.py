"""The accelerator's registers: the one map that the emitter, the tests and docs/registers.md read. rtl/register_file.sv answers it."""

from dataclasses import dataclass

MAGIC = 0x50534146  # "PSAF"
VERSION = 0x00010000  # of this map: major, minor
SPACE = 0x1000  # bytes that the slave decodes
STALLS = 0x400  # where the links' counters begin
STRIDE = 8  # bytes from link to link
PREFIX = "s_axi_lite"

PORTS = {  # port behind the prefix -> (direction, bits)
    "awaddr": ("input", 12),
    "awprot": ("input", 3),
    "awvalid": ("input", 1),
    "awready": ("output", 1),
    "wdata": ("input", 32),
    "wstrb": ("input", 4),
    "wvalid": ("input", 1),
    "wready": ("output", 1),
    "bresp": ("output", 2),
    "bvalid": ("output", 1),
    "bready": ("input", 1),
    "araddr": ("input", 12),
    "arprot": ("input", 3),
    "arvalid": ("input", 1),
    "arready": ("output", 1),
    "rdata": ("output", 32),
    "rresp": ("output", 2),
    "rvalid": ("output", 1),
    "rready": ("input", 1),
}


@dataclass(frozen=True)
class Register:
    """32 bits at byte `offset`. access: ro, rw, or w1c (a bit that is written 1 becomes 0)."""

    name: str
    offset: int
    access: str
    meaning: str


REGISTERS = (
    Register("MAGIC", 0x00, "ro", f"`0x{MAGIC:08x}`, the letters PSAF"),
    Register("VERSION", 0x04, "ro", f"of this map: `0x{VERSION:08x}`, the major number in the upper half"),
    Register("BUILD", 0x08, "ro", "the first 32 bits of a SHA-256 of what was emitted, weights included; `build` in design.json"),
    Register(
        "CONTROL",
        0x0C,
        "rw",
        "bit 0 `clear`: written 1, all counters become 0 (reads 0); bit 1 `ignore_tlast`: images are counted off by their beats "
        "alone, for a host without TLAST; bit 2 `hold`: the stall counters stand still",
    ),
    Register(
        "ERRORS",
        0x10,
        "w1c",
        "bit 0: an image was cut short by TLAST and filled up with zeros; bit 1: an image went on "
        "beyond its last beat and the rest, up to TLAST, was dropped",
    ),
    Register("IMAGES_IN", 0x14, "ro", "images that entered, filled up ones included"),
    Register("IMAGES_OUT", 0x18, "ro", "images whose last logit left"),
    Register("SHORT_IMAGES", 0x1C, "ro", "images that were cut short"),
    Register("LONG_IMAGES", 0x20, "ro", "images that went on too long"),
    Register("LINKS", 0x24, "ro", "how many links have stall counters"),
)
CONTROL_CLEAR, CONTROL_IGNORE_TLAST, CONTROL_HOLD = 1, 2, 4
ERROR_SHORT, ERROR_LONG = 1, 2


def offset(name: str) -> int:
    """The byte offset of a register; KeyError."""
    return {register.name: register.offset for register in REGISTERS}[name]


def blocked(link: int) -> int:
    """The byte offset of the counter of cycles in which link number `link` was valid and not ready."""
    return STALLS + STRIDE * link


def starved(link: int) -> int:
    """The byte offset of the counter of cycles in which link number `link` was ready and not valid."""
    return STALLS + STRIDE * link + 4


def markdown() -> str:
    """docs/registers.md."""
    rows = [f"| `0x{r.offset:03x}` | {r.name} | {r.access} | {r.meaning} |" for r in REGISTERS]
    rows += [
        f"| `0x{STALLS:03x} + {STRIDE} i` | BLOCKED | ro | cycles in which link i was valid and its reader not ready |",
        f"| `0x{STALLS + 4:03x} + {STRIDE} i` | STARVED | ro | cycles in which link i's reader was ready and it not valid |",
    ]
    return "\n".join(
        [
            "# The accelerator's registers",
            "",
            f"`psaflow_top` has an AXI4-Lite slave, `{PREFIX}_*`, 32 bits wide, {SPACE // 1024} KiB, on the clock of its streams "
            "(`registers: false` in the build's configuration leaves it out, and the guard of the input with it: TLAST is then "
            "ignored and images follow each other beat by beat). Written here from `accel/registers.py`.",
            "",
            "| offset | register | access | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "`ro` is read only, `rw` read and written, in `w1c` a bit that is written 1 becomes 0. Every other address, and a write to "
            "a read-only register, is answered with SLVERR. All counters wrap at 2^32. Links are numbered as `registers.links` in "
            "`rtl/design.json` lists them: the image's stream first, the logits' last. A stall counter's value is the one of its last "
            "turn, at most `2 LINKS + 8` cycles before; set `hold` to read all of them of the same moment. A residual addition is "
            "ready for an operand only while the other one is valid, so an operand that waits for the other one is BLOCKED and the "
            "late one is not STARVED.",
            "",
        ]
    )
